"""From a decoded picture to the stored square: shorter side to S, antialiased bicubic, centre crop.

The rounding is torchvision's (Resize of an int, CenterCrop), the reference picture Pillow's. The
`torch` way works on uint8, channels last, and stays within 2 levels of Pillow at 7 to 9 times its
speed (notes/decoding-and-stores.md 2); `pillow` is the reference itself.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["fit", "resized_size"]

Picture = npt.NDArray[np.uint8]


def resized_size(height: int, width: int, *, size: int) -> tuple[int, int]:
    """(height, width) after the shorter side became `size`; the longer is truncated."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def fit(
    picture: Picture, *, size: int, out: Picture, how: Literal["torch", "pillow"] = "torch"
) -> None:
    """Write `picture` [H, W, 3] into `out` [size, size, 3], both RGB uint8.

    Portrait 3 x 6 to size 2: resized to 2 x 4, rows 1 and 2 kept.
    """
    height, width = resized_size(picture.shape[0], picture.shape[1], size=size)
    # torchvision's CenterCrop: Python's round, half to even
    top, left = round((height - size) / 2), round((width - size) / 2)
    if (height, width) == picture.shape[:2]:
        resized = picture
    elif how == "torch":
        resized = _torch(picture, height, width)
    else:
        resized = _pillow(picture, height, width)
    out[...] = resized[top : top + size, left : left + size]


def _torch(picture: Picture, height: int, width: int) -> Picture:
    import torch

    # [H, W, 3] in memory is channels-last [1, 3, H, W]: no copy, and the fast uint8 path
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        image, size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return np.asarray(resized[0].permute(1, 2, 0).numpy(), np.uint8)


def _pillow(picture: Picture, height: int, width: int) -> Picture:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
