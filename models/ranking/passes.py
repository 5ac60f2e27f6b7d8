"""Checked passes over a similarity matrix that comes in blocks of whole rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelvec.models.ranking.tiles import Rows, Tile

__all__ = ["Blocks", "Passes"]

Blocks = Callable[[], Iterable[Tensor | NDArray[np.floating]]]
"""Starts a pass over the similarity matrix: blocks [t, V] of consecutive texts, all videos."""

_SHOWN = 5


class Passes:
    """Passes over the matrix; a small matrix is computed once and kept."""

    def __init__(self, blocks: Blocks, *, owners: Rows, n_videos: int, keep_bytes: int) -> None:
        self._blocks, self._owners = blocks, owners
        self._shape = (len(owners), n_videos)
        self._keep_bytes = keep_bytes
        self._kept: list[Tensor] | None = None

    def own_scores(self) -> Tensor:
        """Score [T] of each text with its own video: a first pass, which checks the others.

        Raises:
            ValueError: NaN, or blocks of another shape.
        """
        own: list[Tensor] = []
        kept: list[Tensor] | None = []
        first, size = 0, 0
        for raw in self._blocks():
            block = torch.as_tensor(raw).detach()
            self._check(block, first)
            videos = self._owners[first : first + block.shape[0]]
            own.append(block.gather(1, torch.as_tensor(videos, device=block.device)[:, None])[:, 0])
            size += block.numel() * block.element_size()
            kept = None if kept is None or size > self._keep_bytes else [*kept, block]
            first += block.shape[0]
        if first != self._shape[0]:
            raise ValueError(f"the blocks hold {first} texts; text_to_video has {self._shape[0]}")
        self._kept = kept
        return torch.cat(own)

    def __iter__(self) -> Iterator[Tile]:
        """All blocks, in order."""
        first = 0
        for raw in self._blocks() if self._kept is None else self._kept:
            block = torch.as_tensor(raw).detach()
            yield Tile(first, 0, block)
            first += block.shape[0]

    def _check(self, block: Tensor, first: int) -> None:
        if block.ndim != 2 or block.shape[1] != self._shape[1]:
            raise ValueError(
                f"a block has shape {tuple(block.shape)}; it must be [t, {self._shape[1]}]"
            )
        if first + block.shape[0] > self._shape[0]:
            raise ValueError(f"the blocks hold more texts than text_to_video ({self._shape[0]})")
        if block.numel() and bool(torch.isnan(block.amax())):
            texts, videos = (
                sorted(set(axis.tolist())) for axis in torch.isnan(block).nonzero(as_tuple=True)
            )
            raise ValueError(
                f"NaN similarity in {len(texts)} texts (first: "
                f"{[first + t for t in texts[:_SHOWN]]}) and {len(videos)} videos (first: "
                f"{videos[:_SHOWN]}); a NaN has no rank. A video without "
                "frames or a diverged model makes it: leave the video out, or train again"
            )
