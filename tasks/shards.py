"""Shards: the unit of retries, checkpoints and parallel work. Knows no engine.

A stage plans shards from what is missing, lets a runner work on them, and publishes one snapshot.
A shard's name is a digest of the keys in it, so an interrupted run, planned again from the same
snapshot, finds the receipts it had already written and adopts them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import xxhash

from reelvec.storage.commits.artifact import Artifact, Receipt
from reelvec.storage.errors import ReelvecError
from reelvec.storage.records import Outcome
from reelvec.tasks.spending import Spending

__all__ = [
    "RETRY_DELAYS",
    "PartContents",
    "Shard",
    "ShardReceipt",
    "is_worth_retrying",
    "make_shards",
    "run_shard",
    "split_finished",
]

T = TypeVar("T")

RETRY_DELAYS = (1.0, 5.0)
"""Seconds before a shard that failed is tried the second and the third time."""


def is_worth_retrying(error: object) -> bool:
    """A person's mistake (a ReelvecError) does not go away by itself; anything else may."""
    return not isinstance(error, ReelvecError)


@dataclass(frozen=True, slots=True)
class Shard(Generic[T]):
    """A few items that become one part of `table`."""

    table: str
    name: str
    items: tuple[T, ...]

    @property
    def label(self) -> str:
        """For a person who looks at runs: what it becomes a part of, how much, which."""
        return f"{len(self.items)} {self.table} ({self.name[:6]})"


@dataclass(frozen=True, slots=True)
class PartContents:
    """What a writer put into a part: rows in it, its schema, and the outcome of every input."""

    rows: int
    schema: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ShardReceipt:
    """What a shard's task gives back: small and picklable; the store holds the rest."""

    receipt: str
    """Path of the part's receipt below the artifact's folder."""
    done: int
    """Items that were worked on."""
    failed: int
    """Those of them that are quarantined."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Seconds by what they went to; empty: not measured, or there already."""

    @classmethod
    def of(cls, receipt: Receipt, *, spending: Spending | None = None) -> ShardReceipt:
        """Of the receipt in the store."""
        counts, spent = receipt.counts, spending.seconds if spending else {}
        return cls(receipt.path, done=counts.planned, failed=counts.quarantined, spent=spent)


def make_shards(
    items: Sequence[T], *, table: str, size: int, key: Callable[[T], Hashable]
) -> list[Shard[T]]:
    """Cut `items` into shards of `size` in their order; the last may be smaller.

    Args:
        items: in corpus order, so that equal corpora give equal shards.
        table: table of the artifact the parts belong to.
        size: items a shard.
        key: what identifies an item and its content.
    """
    return [
        Shard(table=table, name=_digest(map(key, chunk)), items=tuple(chunk))
        for chunk in (items[start : start + size] for start in range(0, len(items), size))
    ]


def _digest(keys: Iterable[Hashable]) -> str:
    return xxhash.xxh3_64_hexdigest("\n".join(map(str, keys)).encode())


def split_finished(
    artifact: Artifact, shards: Sequence[Shard[T]]
) -> tuple[list[Receipt], list[Shard[T]]]:
    """Receipts an interrupted run left for these shards (verified), and the shards still to do."""
    left: dict[tuple[str, str], Receipt] = {}
    if shards:
        for receipt in artifact.orphan_receipts(verify=True):
            left.setdefault((receipt.table, receipt.shard), receipt)
    adopted = [left[s.table, s.name] for s in shards if (s.table, s.name) in left]
    todo = [s for s in shards if (s.table, s.name) not in left]
    return adopted, todo


def run_shard(
    artifact: Artifact,
    shard: Shard[Any],
    *,
    suffix: str,
    write: Callable[[Path], PartContents],
) -> Receipt:
    """Write one part and its receipt: look for a committed output first, since engines re-run."""
    if _was_begun(artifact, shard):
        finished, _ = split_finished(artifact, [shard])
        if finished:
            return finished[0]
    with artifact.new_part(table=shard.table, shard=shard.name, suffix=suffix) as part:
        contents = write(part.path)
        return part.commit(rows=contents.rows, schema=contents.schema, outcomes=contents.outcomes)


def _was_begun(artifact: Artifact, shard: Shard[Any]) -> bool:
    """Whether any receipt bears the shard's name; a listing is enough to look further."""
    names = artifact.root.list(f"{artifact.folder}/receipts")
    return any(name.startswith(f"{shard.table}-{shard.name}-") for name in names)
