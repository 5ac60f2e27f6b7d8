"""Queries with their answers: frame strips as small JPEGs inside the page."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from reelvec.tasks.reports.rendering.contents import Query, Shown
from reelvec.tasks.reports.rendering.markup import Markup, tag

__all__ = ["FRAME_PIXELS", "STRIP_FRAMES", "picture_jpeg", "query_card", "strip_jpeg"]

STRIP_FRAMES = 5
FRAME_PIXELS = 112
_GAP = 3
_QUALITY = 78
_PICTURE_PIXELS, _PICTURE_QUALITY = 96, 70


def strip_jpeg(frames: npt.NDArray[np.uint8]) -> bytes:
    """Frames [F, S, S, 3] RGB side by side, each FRAME_PIXELS high; b"" for none."""
    if not len(frames):
        return b""
    step = FRAME_PIXELS + _GAP
    strip = Image.new("RGB", (len(frames) * step - _GAP, FRAME_PIXELS), (128, 128, 128))
    for i, frame in enumerate(frames):
        strip.paste(_resized(frame, FRAME_PIXELS), (i * step, 0))
    return _jpeg(strip, quality=_QUALITY)


def picture_jpeg(frame: npt.NDArray[np.uint8]) -> bytes:
    """One frame [S, S, 3] RGB, small: a page may hold thousands of them."""
    return _jpeg(_resized(frame, _PICTURE_PIXELS), quality=_PICTURE_QUALITY)


def _resized(frame: npt.NDArray[np.uint8], pixels: int) -> Image.Image:
    shrink = frame.shape[0] > pixels
    method = Image.Resampling.LANCZOS if shrink else Image.Resampling.NEAREST
    return Image.fromarray(frame).resize((pixels, pixels), method)


def _jpeg(picture: Image.Image, *, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=quality, optimize=True)
    return out.getvalue()


def query_card(query: Query) -> Markup:
    """One caption, its best videos, and the true one wherever it was ranked."""
    kind = "hit" if query.rank <= 1 else "near" if query.rank <= 10 else "miss"
    ask = tag(
        "p",
        tag("q", query.text),
        tag("span", f"true video at rank {query.rank:g}", class_=f"pill {kind}"),
        tag("span", query.caption_id, class_="faint"),
        tag("span", query.subset, class_="pill") if query.subset else None,
        class_="ask",
    )
    return tag("div", ask, [_answer(video) for video in query.videos], class_="query")


def _answer(video: Shown) -> Markup:
    words = f"{video.frame_count} frames of {video.video_id}"
    if video.jpeg:
        data = base64.b64encode(video.jpeg).decode("ascii")
        source = f"data:image/jpeg;base64,{data}"
        width = video.frame_count * (FRAME_PIXELS + _GAP) - _GAP
        picture = tag("img", src=source, alt=words, title=words, width=width, height=FRAME_PIXELS)
    else:
        picture = tag("div", "its frames are not in the frame store", class_="none")
    css = "answer" + (" true" if video.true else "") + (" late" if video.rank > 5 else "")
    return tag(
        "div",
        tag("div", f"{video.rank:g}", class_="place"),
        picture,
        tag(
            "div",
            tag("b", video.video_id),
            tag("span", f"logit {video.score:.3f}", " · the true one" if video.true else None),
            class_="who",
        ),
        class_=css,
    )
