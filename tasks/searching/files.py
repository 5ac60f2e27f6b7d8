"""Frames of a file that is not of the store, to search with."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from reelvec.configs.schema import ExtractConfig
from reelvec.errors import RequestError
from reelvec.storage.video.transform import fit
from reelvec.tasks.decoding.files import ClipJob, decode_clips

__all__ = ["frames_of", "picture_in"]

_PICTURES = ("JPEG", "PNG", "WEBP", "BMP")

Frames = npt.NDArray[np.uint8]


def frames_of(path: str | Path, *, options: ExtractConfig) -> Frames:
    """Frames [T, S, S, 3] of a video, decoded in a sandbox as those of a run are.

    Raises:
        RequestError: it cannot be decoded; the message has the decoder's words.
    """
    job = ClipJob(clip_key="query", path=str(Path(path).expanduser().absolute()))
    with closing(decode_clips([job], options=options)) as results:
        result = next(results)
    if not len(result.frames):
        why = f"{result.outcome.reason}, {result.outcome.message}"
        raise RequestError(f"cannot search with the file ({path}): {why}")
    return result.frames


def picture_in(path: str | Path, *, size: int) -> Frames | None:
    """A still picture as a clip of one frame, [1, S, S, 3]; None where the file holds none.

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
    out = np.empty((1, size, size, 3), np.uint8)
    fit(np.asarray(upright), size=size, out=out[0])
    return out
