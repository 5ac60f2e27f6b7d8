"""One vector a text and one a video, also where the score looks at words, frames and patches.

Their cosine is near to the score and costs one product, so that it can choose which videos are
scored; how often it chooses well is measured where it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container

import torch
from torch import Tensor

from reelvec.models.features import EMBEDDING, Features

__all__ = ["Shortened", "whole_vectors"]

_WHOLE = (EMBEDDING, "sentence", "video")
_PARTS = ("words", "frames")
_WEIGHTS = ("weights", "counts", "mask")


class Shortened(ABC):
    """A model whose vectors were trained to be cut (Matryoshka)."""

    @property
    @abstractmethod
    def cut_widths(self) -> Container[int]:
        """To how many numbers."""


def whole_vectors(features: Features) -> Tensor | None:
    """Unit vectors [N, D] of N texts or videos; None: no column that stands for a whole.

    The sentence or the video itself where it is kept, else the weighed mean of unit words or
    frames. Rows of zeros stay so.
    """
    for name in _WHOLE:
        if name in features.tensors:
            return _unit(features[name])
    for name in _PARTS:
        if name in features.tensors:
            parts = _unit(features[name])
            by = next((features[key] for key in _WEIGHTS if key in features.tensors), None)
            weighed = parts if by is None else parts * by.to(parts).unsqueeze(2)
            return _unit(weighed.sum(dim=1))
    return None


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x.float(), dim=-1)
