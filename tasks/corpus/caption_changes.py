"""Compare listed captions with the corpus table, in memory that does not grow with them.

Both are streamed as columns. Tables were written from listings, so that most nights both begin with
the same rows, or are the same: these are compared as columns and no more is done about them. What
follows is told by the sum of the digests of each video's captions, whatever their order; one by one
are compared only the captions of videos whose sums differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.corpora.caption_list import CaptionList, caption_tables
from reelvec.storage.corpora.listed_ids import ListedIds
from reelvec.storage.digests import Digests, DigestSet, column_digests
from reelvec.storage.records import CAPTION_SCHEMA, Caption
from reelvec.storage.tables import iter_tables

__all__ = ["CaptionChanges", "caption_changes"]

_ROWS = 65_536  # compared at once
_NAMES = CAPTION_SCHEMA.names

Pieces = Callable[[], Iterator[pa.Table]]
"""Columns of captions, some at once, as often as they are asked for."""


@dataclass(frozen=True)
class CaptionChanges:
    """Captions to write in corpus order, and ids of rows in force that are replaced or gone."""

    due: Sequence[Caption]
    changed: list[str]
    removed: list[str]


def caption_changes(
    listed: Sequence[Caption], *, ids: ListedIds, snapshot: Snapshot | None
) -> CaptionChanges:
    """Compare listed captions with the corpus table.

    Args:
        listed: the captions of now; read several times, in order.
        ids: of the videos of now.
        snapshot: the corpus in force.
    """
    if snapshot is None or not snapshot.rows_of("captions"):
        return CaptionChanges(listed, [], [])

    def now() -> Iterator[pa.Table]:
        return caption_tables(listed, rows=_ROWS)

    def in_force() -> Iterator[pa.Table]:
        return iter_tables(snapshot, "captions", columns=_NAMES, batch_rows=_ROWS)

    same = _same_rows(now(), in_force())
    if same == len(listed) == snapshot.rows_of("captions"):
        return CaptionChanges((), [], [])
    return _by_digests(
        lambda: _after(now(), same), lambda: _after(in_force(), same), videos=ids.digests
    )


def _same_rows(one: Iterator[pa.Table], other: Iterator[pa.Table]) -> int:
    """How many rows both begin with, as far as whole batches are the same."""
    same = 0
    for here, there in zip(_batches(one), _batches(other), strict=False):
        rows = min(here.num_rows, there.num_rows)  # the last ones of one may be fewer
        if not _equal(here.slice(0, rows), there.slice(0, rows)):
            break
        same += rows
    return same


def _equal(one: pa.Table, other: pa.Table) -> bool:
    return all(one.column(name).equals(other.column(name)) for name in _NAMES)


def _batches(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, so many at once; the last ones may be fewer."""
    rest = pa.Table.from_batches([], schema=CAPTION_SCHEMA)
    for piece in pieces:
        rest = pa.concat_tables([rest, piece.select(_NAMES).cast(CAPTION_SCHEMA)])
        while rest.num_rows >= _ROWS:
            yield rest.slice(0, _ROWS)
            rest = rest.slice(_ROWS)
    if rest.num_rows:
        yield rest


def _after(pieces: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Without the first rows."""
    for piece in pieces:
        if rows < piece.num_rows:
            yield piece.slice(rows)
        rows = max(rows - piece.num_rows, 0)


def _by_digests(listed: Pieces, in_force: Pieces, *, videos: DigestSet) -> CaptionChanges:
    sums = _sums(listed(), videos=videos), _sums(in_force(), videos=videos)
    touched = (sums[0] != sums[1]).any(axis=1)
    if not touched.any():
        return CaptionChanges((), [], [])

    def of_touched(pieces: Pieces) -> Iterator[pa.Table]:
        for piece in pieces():
            here = np.flatnonzero(touched[_places(piece, videos=videos)])
            yield piece.take(column_of(here))

    known_ids, contents = _index(of_touched(in_force))
    kept = np.zeros(len(known_ids), bool)
    due, changed = CaptionList(), []
    for piece in of_touched(listed):
        places = known_ids.find(_digests(piece, "caption_id"))
        known = places >= 0
        kept[places[known]] = True
        same = known & (contents[places] == _digests(piece, *_NAMES)).all(axis=1)
        due.extend(piece.take(column_of(np.flatnonzero(~same))))
        changed += _ids(piece, np.flatnonzero(known & ~same))
    gone, removed, first = ~kept, [], 0
    for piece in of_touched(in_force):
        removed += _ids(piece, np.flatnonzero(gone[first : first + piece.num_rows]))
        first += piece.num_rows
    return CaptionChanges(due if due.spilled else tuple(due), changed, removed)


def _ids(piece: pa.Table, rows: NDArray[np.int64]) -> list[str]:
    ids: list[str] = piece.column("caption_id").take(column_of(rows)).to_pylist()
    return ids


def _places(piece: pa.Table, *, videos: DigestSet) -> NDArray[np.int64]:
    """Of which video each caption is; -1: of none."""
    return videos.find(_digests(piece, "video_id"))


def _sums(pieces: Iterable[pa.Table], *, videos: DigestSet) -> NDArray[np.uint64]:
    """Sum of the digests of each video's captions, uint64 [V + 1, 2]; last: of no video."""
    sums = np.zeros((len(videos) + 1, 2), np.uint64)
    for piece in pieces:
        np.add.at(sums, _places(piece, videos=videos), _digests(piece, *_NAMES))
    return sums


def _digests(piece: pa.Table, *names: str) -> Digests:
    """Of these columns together, a row each."""
    columns = [piece.column(name).cast(pa.large_string()) for name in names]
    separator = pa.scalar("\0", pa.large_string())
    return column_digests(pc.binary_join_element_wise(*columns, separator))


def _index(pieces: Iterable[pa.Table]) -> tuple[DigestSet, Digests]:
    """Digests of ids, and of whole rows in their order; one more stands for the place -1."""
    ids: list[Digests] = []
    contents: list[Digests] = []
    for piece in pieces:
        ids.append(_digests(piece, "caption_id"))
        contents.append(_digests(piece, *_NAMES))
    return DigestSet(ids), np.concatenate([*contents, np.zeros((1, 2), np.uint64)])
