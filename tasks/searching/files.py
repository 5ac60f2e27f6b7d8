"""Frames of a file that is not of the store, to search with."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reelvec.configs.schema import ExtractConfig
from reelvec.errors import RequestError
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.video.transform import fit, fitted_size
from reelvec.tasks.decoding.files import ClipJob, decode_clips

__all__ = ["clip_in"]

_PICTURES = ("JPEG", "PNG", "WEBP", "BMP")


def clip_in(path: str | Path, *, options: ExtractConfig) -> ClipFrames:
    """The frames of a video, decoded in a sandbox as those of a run are, or of a still picture.

    Raises:
        RequestError: it cannot be decoded; the message has the decoder's words.
    """
    picture = _picture_in(path, options=options)
    if picture is not None:
        return picture
    job = ClipJob(clip_key="query", path=str(Path(path).expanduser().absolute()))
    with closing(decode_clips([job], options=options)) as results:
        result = next(results)
    if not len(result.frames):
        why = f"{result.outcome.reason}, {result.outcome.message}"
        raise RequestError(f"cannot search with the file ({path}): {why}")
    return ClipFrames(
        clip_key=result.clip_key,
        frames=result.frames,
        pts_seconds=result.pts_seconds,
        frame_index=result.frame_index,
        source=result.source if options.fit == "native" else None,
    )


def _picture_in(path: str | Path, *, options: ExtractConfig) -> ClipFrames | None:
    """A still picture as a clip of one frame; None where the file holds none.

    Raises:
        RequestError: it is a picture that is damaged, or too large to be one.
    """
    try:
        with Image.open(Path(path).expanduser(), formats=_PICTURES) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                return None
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, FileNotFoundError, IsADirectoryError):
        return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestError(f"cannot search with the picture ({path}): {error}") from error
    pixels = np.asarray(upright)
    height, width = pixels.shape[:2]
    shape = fitted_size(height, width, size=options.size, fit=options.fit)
    out = np.empty((1, *shape, 3), np.uint8)
    fit(
        pixels,
        size=options.size,
        out=out[0],
        fit=options.fit,
        interpolation=options.interpolation,
    )
    made_from = Source(height, width, frames=1, fps=1.0) if options.fit == "native" else None
    return ClipFrames("query", out, np.zeros(1), np.zeros(1, np.int64), made_from)
