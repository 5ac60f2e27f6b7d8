"""Shards: the unit of retries, checkpoints and parallel work. Knows no engine.

A stage plans shards from what is missing, lets a runner work on them, and publishes one snapshot.
A shard's name is a digest of the keys in it, so an interrupted run, planned again from the same
snapshot, finds the receipts it had already written and adopts them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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
    "size_of_shards",
    "split_finished",
]

T = TypeVar("T")

_COUNTS_FOR = 50
_SHARDS = 32
"""Of a plan, at least, where its items make so many: enough that cores end together."""

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

    receipt: Receipt
    """Of the part, as it was committed: whoever hears of the shard asks the store for nothing."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Seconds by what they went to; empty: not measured, or there already."""

    @classmethod
    def of(cls, receipt: Receipt, *, spending: Spending | None = None) -> ShardReceipt:
        """Of the receipt in the store."""
        return cls(receipt, spent=spending.seconds if spending else {})


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


def size_of_shards(items: int, *, least: int, most: int) -> int:
    """Items a shard, so that few of them keep all cores busy, and many make no crowd of parts.

    It follows from how many there are and from nothing of the machine, so that a run that was
    interrupted plans the same shards on any other; and in powers of two, so that a few more items
    mostly leave it as it was.

    Args:
        items: that are due.
        least: of a shard, `most` at most: smaller ones cost more than they share out.
        most: of a shard.

    Returns:
        A number from `least` to `most`; the shards are about 32 to 64 where both allow it.
    """
    wanted = items // _SHARDS
    return min(max(1 << max(wanted.bit_length() - 1, 0), least), most)


def _digest(keys: Iterable[Hashable]) -> str:
    return xxhash.xxh3_64_hexdigest("\n".join(map(str, keys)).encode())


def split_finished(
    artifact: Artifact, shards: Sequence[Shard[T]]
) -> tuple[list[Receipt], list[Shard[T]]]:
    """Receipts an interrupted run left for these shards (verified), and the shards still to do."""
    left: dict[tuple[str, str], Receipt] = {}
    if shards:
        names = {f"{shard.table}-{shard.name}" for shard in shards}
        for receipt in artifact.orphan_receipts(shards=names):
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
    begun_as = f"{shard.table}-{shard.name}"
    begun = _begun(artifact.root.uri, artifact.folder)
    if begun.has(begun_as, artifact=artifact):
        for finished in artifact.orphan_receipts(shards={begun_as}):
            return finished
    with artifact.new_part(table=shard.table, shard=shard.name, suffix=suffix) as part:
        contents = write(part.path)
        receipt = part.commit(
            rows=contents.rows, schema=contents.schema, outcomes=contents.outcomes
        )
    begun.add(begun_as)
    return receipt


class _Begun:
    """Which shards of an artifact have a receipt, by a listing that is not made for each of them.

    A listing counts for fifty times as long as it took, so that looking takes two percent of the
    time, however many receipts there are. What it misses is done twice, and counts once: a
    publication takes no key that is in force already.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._until = -math.inf

    def has(self, begins: str, *, artifact: Artifact) -> bool:
        """Whether the shard of this table and name has one; only a hint."""
        now = time.monotonic()
        if now > self._until:
            names = artifact.root.list(f"{artifact.folder}/receipts")
            self._names = {name.rpartition("-")[0] for name in names}
            self._until = now + _COUNTS_FOR * (time.monotonic() - now)
        return begins in self._names

    def add(self, begins: str) -> None:
        """The shard has one from now on."""
        self._names.add(begins)


@lru_cache(maxsize=8)
def _begun(uri: str, folder: str) -> _Begun:
    """What this process has last seen of the artifact in `folder` of the store at `uri`."""
    del uri, folder
    return _Begun()
