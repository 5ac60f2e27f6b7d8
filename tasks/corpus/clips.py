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
from numpy.typing import NDArray

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.commits.merging import Entry
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome, clip_key
from reelvec.storage.tables import iter_tables
from reelvec.tasks.digests import Digests, DigestSet, digests

__all__ = ["ClipOutcomes", "clip_outcomes", "iter_clips"]

_ROWS = 65_536  # looked at at once


class ClipOutcomes:
    """What became of every clip of an artifact of frames or audio, and which part has it.

    Attributes:
        others: by key, the rows of clips that are not simply ok, and the number of their part.
    """

    def __init__(self, kept: Snapshot | None) -> None:
        self.others: dict[str, tuple[Outcome, int]] = {}
        table = kept.artifact.kind if kept else ""
        self._parts = [part.entry for part in kept.parts(table)] if kept else []
        ok: list[Digests] = []
        for number, ledger in enumerate(iter_ledger(kept, table)):
            ok.append(digests(self._sorted_out(ledger, number)))
        self._ok = DigestSet(ok)
        self._ends = np.cumsum([len(part) for part in ok], dtype=np.int64)

    def _sorted_out(self, ledger: dict[str, list[Any]], number: int) -> list[str]:
        """Keys of clips that are ok; the others are put by."""
        keys, statuses = ledger["key"], ledger["status"]
        if statuses.count(Status.OK) == len(keys):
            return keys
        for row in (Outcome(*values) for values in zip(*ledger.values(), strict=True)):
            if row.status != Status.OK:
                self.others[row.key] = row, number
        return [key for key in keys if key not in self.others]

    def places(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The part with each clip that is ok, int64 [N]; -1 for all others."""
        found = self._ok.find(digests(keys))
        numbers = np.searchsorted(self._ends, found, side="right")
        numbers[found < 0] = -1
        return numbers

    def part(self, number: int) -> Entry | None:
        """The part of this number; None for -1."""
        return self._parts[number] if number >= 0 else None


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


def iter_clips(
    corpus: Snapshot | None, *, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.Table, list[str]]]:
    """Videos of a corpus, some at once, and the clip_key of each ("": its bytes were not read).

    Args:
        corpus: the snapshot in force; None: nothing yet.
        columns: those that are needed beside the key's own; None: all.
    """
    if corpus is None or "videos" not in corpus.tables:
        return
    key = ("content_hash", "start_seconds", "end_seconds")
    wanted = None if columns is None else list(dict.fromkeys([*columns, *key]))
    for piece in iter_tables(corpus, "videos", columns=wanted, batch_rows=_ROWS):
        yield piece, _keys(*(piece.column(name) for name in key))


def _keys(hashes: pa.ChunkedArray, starts: pa.ChunkedArray, ends: pa.ChunkedArray) -> list[str]:
    contents: list[str] = hashes.to_pylist()
    if starts.null_count == len(starts) and ends.null_count == len(ends):
        return contents  # of whole files, as most are
    return [
        clip_key(content, start_seconds=start, end_seconds=end) if content else ""
        for content, start, end in zip(contents, starts.to_pylist(), ends.to_pylist(), strict=True)
    ]
