"""Opening a file: with which containers, which of its streams, and what it is if it is no video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import av.error

from reelvec.storage.errors import VideoError
from reelvec.storage.lookalikes import lookalike
from reelvec.storage.reasons import Reason
from reelvec.storage.video.content import zeros_at_end
from reelvec.storage.video.structure import Completeness, completeness

__all__ = ["CONTAINERS", "check_size", "open_container", "still_picture", "video_stream"]

CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv",
    "gif", "m4v", "mpegvideo", "mxf", "ogg", "rm", "yuv4mpegpipe",
)  # fmt: skip
"""The demuxers allowed. No playlist, concat list, image or network format is among them."""

IMAGE_BRANDS = ("avif", "avis", "heic", "heix", "hevc", "mif1", "msf1")
"""Pictures in the clothes of an MP4."""


def open_container(
    path: str | Path, *, max_pixels: int, **codec_options: str
) -> av.container.InputContainer:
    """Open a local file with the containers we name, and nothing it may point to.

    Raises:
        VideoError: unreadable, saying what it is where that is known; truncated where the
            container's own length says so.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(CONTAINERS),
        "max_pixels": str(max_pixels),
        **codec_options,
    }
    try:
        return av.open(f"file:{Path(path).absolute()}", mode="r", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        held = lookalike(path)
        if held:
            raise VideoError(
                f"{path}: holds no video but {held.words}; fetch the file again, or take it off the"
                " list",
                path=str(path),
                reason=Reason.UNREADABLE,
            ) from error
        if completeness(path) is Completeness.CUT or zeros_at_end(path):
            raise VideoError(
                f"{path}: a download that was not finished: it ends, or turns to zeros, before "
                f"its own container does, and the index it needs is not there ({error}); fetch "
                "the file again",
                path=str(path),
                reason=Reason.TRUNCATED,
            ) from error
        raise VideoError(
            f"{path}: not a video in one of the containers read here ({', '.join(CONTAINERS)}): "
            f"{error}",
            path=str(path),
            reason=Reason.UNREADABLE,
        ) from error


def video_stream(container: Any, path: str | Path) -> Any:
    """The best video stream that is not a cover picture."""
    if container.metadata.get("major_brand", "").strip() in IMAGE_BRANDS:
        raise still_picture(path)
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not moving:
        cover = len(container.streams.video) > 0
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        cut = completeness(path) is Completeness.CUT and not container.streams.audio
        raise VideoError(
            f"{path}: "
            + ("its only video stream is a cover picture" if cover else "no video stream")
            + f" (holds {kinds})"
            + (", and its end is missing" if cut else ""),
            path=str(path),
            reason=Reason.TRUNCATED if cut else Reason.NO_VIDEO_STREAM,
        )
    best = container.streams.best("video")
    chosen = best if best in moving else moving[0]
    if chosen.codec_context is None:
        raise VideoError(
            f"{path}: no decoder here for its video stream",
            path=str(path),
            reason=Reason.UNREADABLE,
        )
    return chosen


def still_picture(path: str | Path) -> VideoError:
    return VideoError(
        f"{path}: a still picture, not a video", path=str(path), reason=Reason.UNREADABLE
    )


def check_size(path: str | Path, context: Any, max_pixels: int) -> None:
    width, height = context.width, context.height
    if width * height == 0:  # over max_pixels, FFmpeg forgets the size; ask the header alone
        width, height = _declared_size(path)
    if width * height > max_pixels:
        raise VideoError(
            f"{path}: declares {width} x {height} pixels, over the limit of {max_pixels}; raise "
            "extract.max_pixels if it is meant",
            path=str(path),
            reason=Reason.TOO_LARGE,
        )


def _declared_size(path: str | Path) -> tuple[int, int]:
    with open_container(path, max_pixels=2**31 - 1, codec_whitelist="none") as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height
