"""Features of the rows that a process's own are compared with, as leaves of the loss's graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.tasks.training.processes import Group

__all__ = ["Leaves", "Seen", "tensors_of"]


@dataclass(frozen=True)
class Seen:
    """The rows that this process's rows are compared with.

    Attributes:
        group: the processes that they come from.
        sizes: rows of each of these.
        mine: this process's rows among them.
        first: place of the first of them in the global batch.
        pairs: rows of the global batch.
    """

    group: Group
    sizes: list[int]
    mine: slice
    first: int
    pairs: int

    @classmethod
    def by(cls, negatives: str, own: Sequence[slice], *, group: Group) -> Seen:
        """All rows of the batch, or this process's own."""
        mine, pairs = own[group.rank], own[-1].stop
        if negatives == "process":
            rows = mine.stop - mine.start
            return cls(Group(device=group.device), [rows], slice(0, rows), mine.start, pairs)
        return cls(group, [rows.stop - rows.start for rows in own], mine, 0, pairs)


class Leaves:
    """Features of the rows that are seen, as leaves of the loss's own graph.

    Attributes:
        seen: which rows.
        text, video: their features.
    """

    def __init__(self, text: TextFeatures, video: VideoFeatures, seen: Seen) -> None:
        self.seen = seen
        self.text = TextFeatures(self._gathered(text.tensors))
        self.video = VideoFeatures(self._gathered(video.tensors))

    def _gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        group, sizes = self.seen.group, self.seen.sizes
        return {name: _leaf(group.gather(x, sizes=sizes)) for name, x in tensors.items()}

    def gradients(self, *, scale: float) -> list[Tensor | None]:
        """Gradients of this process's features, texts' tensors first; None: not used."""
        leaves = list(tensors_of(self.text, self.video))
        self.seen.group.sum(leaf.grad for leaf in leaves if leaf.grad is not None)
        mine = self.seen.mine
        return [None if leaf.grad is None else scale * leaf.grad[mine] for leaf in leaves]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def tensors_of(text: TextFeatures, video: VideoFeatures) -> Iterator[Tensor]:
    yield from text.tensors.values()
    yield from video.tensors.values()
