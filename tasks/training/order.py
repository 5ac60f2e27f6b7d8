"""Which items stand in which batch: a function of (seed, epoch) alone, and integers only.

Processes never enter: a global batch is the same for any number of them, and each takes a
contiguous piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reelvec.configs.schema import TrainConfig
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.items import Item

__all__ = ["Order", "pieces", "scheduled_steps", "step_seed"]

Indices = npt.NDArray[np.int64]

_ORDER, _DRAW, _STEP = 1, 2, 3  # streams of randomness that share the run's seed


def _grouped(items: Sequence[Item], *, one_per_video: bool) -> list[list[int]]:
    """Positions of items in groups; an epoch takes one item of each group."""
    if not one_per_video:
        return [[position] for position in range(len(items))]
    by_video: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        by_video.setdefault(item.video_id, []).append(position)
    return list(by_video.values())


@dataclass(frozen=True)
class Order:
    """The batches of a run.

    Attributes:
        groups: items that stand for one another, each a list of positions in the training set;
            one of each group is drawn an epoch (one caption of each video, or just the item).
        batch_size: pairs of a global batch.
        seed: of the run.
    """

    groups: Sequence[Sequence[int]]
    batch_size: int
    seed: int

    @classmethod
    def of(cls, items: Sequence[Item], options: TrainConfig) -> Order:
        """The order of a training on these items, all of the role train."""
        groups = _grouped(items, one_per_video=options.captions == "one_per_video")
        return cls(groups, batch_size=options.batch_size, seed=options.seed)

    @property
    def batch(self) -> int:
        """Pairs of each batch: a set smaller than `batch_size` is one batch."""
        return min(self.batch_size, len(self.groups))

    @property
    def steps(self) -> int:
        """Batches an epoch; an incomplete last one is dropped, as the originals do."""
        return len(self.groups) // self.batch if self.groups else 0

    def epoch(self, epoch: int) -> Indices:
        """Positions of the items of an epoch, int64 [steps, batch].

        Source of the rule: DistributedSampler and drop_last of the originals, less the ranks.
        """
        order = _stream(self.seed, _ORDER, epoch).permutation(len(self.groups))
        draws = _stream(self.seed, _DRAW, epoch).random(len(self.groups))
        chosen = [
            self.groups[group][int(draws[group] * len(self.groups[group]))]
            for group in order[: self.steps * self.batch]
        ]
        return np.array(chosen, dtype=np.int64).reshape(self.steps, self.batch)


def pieces(rows: int, *, processes: int) -> list[slice]:
    """The rows of a batch that each process takes: contiguous, sizes differing by one at most.

    Raises:
        TrainingError: more processes than rows.
    """
    if processes > rows:
        raise TrainingError(
            f"train.processes ({processes}) exceeds the pairs of a batch ({rows}): each process "
            f"needs one; set train.processes to {rows} or less"
        )
    bounds = [rows * rank // processes for rank in range(processes + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def step_seed(seed: int, *, step: int, row: int) -> int:
    """Seed of what is random within step `step` (dropout, Gumbel noise) from batch row `row` on."""
    return int(_stream(seed, _STEP, step, row).integers(0, 2**63 - 1))


def _stream(*numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(numbers)))


def scheduled_steps(order: Order, options: TrainConfig) -> int:
    """Steps that the learning rate is planned for.

    Source: specs/xclip-adaclip.md B2 (t_total), the steps of the run else.
    """
    if options.schedule_over == "pairs":
        return -(-len(order.groups) * options.epochs // order.batch)
    return order.steps * options.epochs
