"""From a decoded picture to the stored one: cropped, squashed or whole, resized with antialiasing.

The rounding is torchvision's (Resize of an int, CenterCrop), the reference picture Pillow's. The
`torch` way works on uint8, channels last, and stays within 2 levels of Pillow at 7 to 9 times its
speed (notes/decoding-and-stores.md 2); in a process that has not imported torch the same bits are
made without it. `pillow` is the reference itself.
"""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import FrameForm
from reelvec.storage.video.resampling import resample

__all__ = ["fit", "fit_all", "fitted_size", "resized_size"]

Picture = npt.NDArray[np.uint8]
Fit = Literal["crop", "squash", "native"]
Interpolation = Literal["bicubic", "bilinear"]


def resized_size(height: int, width: int, *, size: int) -> tuple[int, int]:
    """(height, width) after the shorter side became `size`; the longer is truncated."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def fitted_size(height: int, width: int, *, size: int, fit: Fit) -> tuple[int, int]:
    """(height, width) of what a picture becomes: a square, or with `native` its own proportions."""
    if fit != "native":
        return size, size
    if min(height, width) <= size:
        return height, width
    return resized_size(height, width, size=size)


def fit(
    picture: Picture,
    *,
    size: int,
    out: Picture,
    how: Literal["torch", "pillow"] = "torch",
    fit: Fit = "crop",
    interpolation: Interpolation = "bicubic",
) -> None:
    """Write `picture` [H, W, 3] into `out`, of its `fitted_size` [h, w, 3], both RGB uint8.

    Portrait 3 x 6 cropped to size 2: resized to 2 x 4, rows 1 and 2 kept.
    """
    if fit == "crop":
        height, width = resized_size(picture.shape[0], picture.shape[1], size=size)
    else:
        height, width = out.shape[:2]
    # torchvision's CenterCrop: Python's round, half to even
    top, left = round((height - out.shape[0]) / 2), round((width - out.shape[1]) / 2)
    window = slice(top, top + out.shape[0]), slice(left, left + out.shape[1])
    if (height, width) == picture.shape[:2]:
        resized = picture
    elif how == "torch" and "torch" not in sys.modules:
        out[...] = resample(picture, height, width, interpolation, window=window)
        return
    elif how == "torch":
        resized = _torch(picture, height, width, interpolation)
    else:
        resized = _pillow(picture, height, width, interpolation)
    out[...] = resized[window]


def fit_all(pictures: Picture, *, form: FrameForm, out: Picture) -> None:
    """Write pictures [T, H, W, 3] into `out` [T, S, S, 3] in a form, whatever its own size is."""
    for picture, place in zip(pictures, out, strict=True):
        fit(
            picture,
            size=place.shape[0],
            out=place,
            how=form.resize,
            fit=form.fit,
            interpolation=form.interpolation,
        )


def _torch(picture: Picture, height: int, width: int, interpolation: Interpolation) -> Picture:
    import torch

    # [H, W, 3] in memory is channels-last [1, 3, H, W]: no copy, and the fast uint8 path
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        image, size=(height, width), mode=interpolation, antialias=True, align_corners=False
    )
    return np.asarray(resized[0].permute(1, 2, 0).numpy(), np.uint8)


def _pillow(picture: Picture, height: int, width: int, interpolation: Interpolation) -> Picture:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling[interpolation.upper()]))
