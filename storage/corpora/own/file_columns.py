"""The files of a folder as columns: ids, paths and marks, in one walk and without a record each."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelvec.storage.arrow_values import column_of, texts_of
from reelvec.storage.corpora.discovery import stem_of, walked
from reelvec.storage.file_marks import MARK_FIELDS

__all__ = ["by_id", "columns_of", "file_columns", "ids_of"]

_ROWS = 16_384  # made into columns at once


def ids_of(paths: Sequence[str]) -> dict[str, str]:
    """Video ids of relative paths: without extension, except where two would be the same.

    ``a.mp4`` is ``a``; beside an ``a.mkv`` both keep their extension. Ids differ wherever the
    bytes of the names do: case and Unicode normalisation twins stay apart.
    """
    ids = dict(zip(paths, map(stem_of, paths), strict=True))
    if len(set(ids.values())) == len(ids):
        return ids
    while True:  # each round gives its whole name to at least one more path
        counts = Counter(ids.values())
        twins = [path for path, name in ids.items() if counts[name] > 1 and name != path]
        if not twins:
            return ids
        ids.update((path, path) for path in twins)


def file_columns(folder: Path, *, above: str, notes: list[str]) -> pa.Table | None:
    """Columns of `Video` for the files below a folder, in the order of their ids.

    Args:
        folder: walked, and its files looked at.
        above: what stands before a path below it.
        notes: those of the walk are added.

    Returns:
        video_id, path and the fields of a mark; None: a name is not UTF-8, which needs records.

    Raises:
        CorpusError: as `walked`.
    """
    pieces: list[pa.Table] = []
    ids: list[str] = []
    paths: list[str] = []
    marks = array("q")
    try:
        for prefix, here in walked(folder, looks=True, notes=notes):
            ids += map(prefix.__add__, _ids_in_folder(here.names))
            paths += map(prefix.__add__, here.names)
            marks += here.marks
            if len(ids) >= _ROWS:
                pieces.append(columns_of(ids, paths, marks))
                ids, paths, marks = [], [], array("q")
        pieces.append(columns_of(ids, paths, marks))
        return by_id(pieces, above=above)
    except UnicodeEncodeError:
        return None


def _ids_in_folder(names: list[str]) -> list[str]:
    """`ids_of` names that are one folder's: no other folder has twins of them."""
    stems = [name[: name.rfind(".")] for name in names]
    return stems if len(set(stems)) == len(stems) else list(ids_of(names).values())


def columns_of(ids: Sequence[str], paths: Sequence[str], marks: array[int]) -> pa.Table:
    """Columns for `by_id`: video_id, end (what a path has after its id) and the fields of a mark.

    Args:
        ids: of the files.
        paths: of the files, below a folder.
        marks: the four numbers of each, one after another.

    Raises:
        UnicodeEncodeError: an id or a path is not UTF-8.
    """
    ends = [path[len(video_id) :] for video_id, path in zip(ids, paths, strict=True)]
    seen = np.frombuffer(marks, np.int64).reshape(-1, len(MARK_FIELDS)).T
    columns = {"video_id": texts_of(ids), "end": texts_of(ends)}
    return pa.table(columns | dict(zip(MARK_FIELDS, map(column_of, seen), strict=True)))


def by_id(pieces: list[pa.Table], *, above: str) -> pa.Table:
    """The rows in the order of their ids, as Python compares them, with the paths they have.

    Args:
        pieces: of `columns_of` and more, one at least; they are taken out of the list, so that not
            all columns are in memory twice.
        above: what stands before a path.

    Raises:
        UnicodeEncodeError: it is not UTF-8.
    """
    columns = {name: [piece.column(name) for piece in pieces] for name in pieces[0].column_names}
    pieces.clear()
    order, found = None, {}
    for name in list(columns):
        whole = pa.concat_arrays([chunk for column in columns.pop(name) for chunk in column.chunks])
        if order is None:
            order = pc.sort_indices(whole)  # ids by UTF-8, which is the same order
        found[name] = whole.take(order)
    before, between = texts_of([above, ""])
    path = pc.binary_join_element_wise(before, found["video_id"], found.pop("end"), between)
    return pa.table(found | {"path": path})
