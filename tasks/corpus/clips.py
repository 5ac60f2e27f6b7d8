"""Clips of a corpus and what became of them, by columns and digests: for millions of videos.

Of a clip that is ok, as most are, only the digest of its key is held, sixteen bytes; of the others
their ledger rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import numbers_of, texts_of
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.ledgers import is_small, part_ledger
from reelvec.storage.commits.merging import Entry
from reelvec.storage.digests import Digests, DigestSet, digests
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome, clip_key
from reelvec.tasks.corpus.part_memo import PartMemo
from reelvec.tasks.corpus.video_columns import video_columns

__all__ = ["ClipOutcomes", "are_quarantined", "clip_outcomes", "iter_clips"]

SortedOut = tuple[Digests, list[Outcome]]
"""Of a part: its clips that are ok, by their keys, and the ledger rows of the others."""

_QUARANTINED = texts_of([Status.QUARANTINED.value])[0].cast(pa.string())


class ClipOutcomes:
    """What became of every clip of an artifact of frames or audio, and which part has it.

    Attributes:
        others: by key, the rows of clips that are not simply ok, and the number of their part.
    """

    def __init__(self, kept: Snapshot | None) -> None:
        self.others: dict[str, tuple[Outcome, int]] = {}
        table = kept.artifact.kind if kept else ""
        self._parts = [part.entry for part in kept.parts(table)] if kept else []
        sorted_out = _sorted_out_parts(kept, table) if kept else []
        for number, (_, others) in enumerate(sorted_out):
            self.others.update((row.key, (row, number)) for row in others)
        ok = [found for found, _ in sorted_out]
        self._ok = DigestSet(ok)
        self._ends = np.cumsum([len(part) for part in ok], dtype=np.int64)

    def places(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The part with each clip that is ok, int64 [N]; -1 for all others."""
        found = self._ok.find(digests(keys))
        numbers = np.searchsorted(self._ends, found, side="right")
        numbers[found < 0] = -1
        return numbers

    def part(self, number: int) -> Entry | None:
        """The part of this number; None for -1."""
        return self._parts[number] if number >= 0 else None


def _sorted_out_parts(kept: Snapshot, table: str) -> list[SortedOut]:
    small = is_small(kept, table)
    return _known.of(kept, table, lambda part: _sorted_out(part_ledger(part, kept=small)))


def _sorted_out(ledger: dict[str, list[Any]]) -> SortedOut:
    keys, statuses = ledger["key"], ledger["status"]
    if statuses.count(Status.OK) == len(keys):
        return digests(keys), []
    rows = [Outcome(*values) for values in zip(*ledger.values(), strict=True)]
    others = [row for row in rows if row.status != Status.OK]
    return digests(row.key for row in rows if row.status == Status.OK), others


_known: PartMemo[SortedOut] = PartMemo()
_read: WeakKeyDictionary[Snapshot, ClipOutcomes] = WeakKeyDictionary()


def clip_outcomes(kept: Snapshot | None) -> ClipOutcomes:
    """What became of the clips of a snapshot; its ledger is read once as long as somebody holds it.

    The stages of a run look at one snapshot, and each of them asks.
    """
    if kept is None:
        return ClipOutcomes(None)
    if kept not in _read:
        _read[kept] = ClipOutcomes(kept)
    return _read[kept]


def iter_clips(corpus: Snapshot | None) -> Iterator[tuple[int, pa.Table, list[str]]]:
    """Videos of a corpus, some at once: the number of the first, their columns, their clip_keys.

    A key is "" where the bytes were not read. The columns are those of `video_columns`.
    """
    first = 0
    for piece in video_columns(corpus).batches():
        key = ("content_hash", "start_seconds", "end_seconds")
        yield first, piece, _keys(*(piece.column(name) for name in key))
        first += piece.num_rows


def are_quarantined(piece: pa.Table) -> NDArray[np.bool_]:
    """Which of these videos ingest has refused, bool [N]."""
    broken = pc.equal(piece.column("status"), _QUARANTINED)
    return numbers_of(broken.cast(pa.int64())) > 0


def _keys(hashes: pa.ChunkedArray, starts: pa.ChunkedArray, ends: pa.ChunkedArray) -> list[str]:
    contents: list[str] = hashes.to_pylist()
    if starts.null_count == len(starts) and ends.null_count == len(ends):
        return contents  # of whole files, as most are
    return [
        clip_key(content, start_seconds=start, end_seconds=end) if content else ""
        for content, start, end in zip(contents, starts.to_pylist(), ends.to_pylist(), strict=True)
    ]
