"""Caption files as columns by role, some rows at once; `read_caption_file` has the same by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from reelvec.storage.corpora.annotations import Place, refused
from reelvec.storage.corpora.delimited import layout_of, read_columns
from reelvec.storage.corpora.own.caption_files import (
    ROLES,
    Kind,
    columns_by_role,
    kind_of,
    read_caption_file,
)
from reelvec.storage.corpora.own.parquet import parquet_columns

__all__ = ["CaptionRows", "caption_rows"]

_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class CaptionRows:
    """Some rows of a caption file.

    Attributes:
        columns: values by role, as they stand in the file; None where a row has no such value.
        places: where each stands.
    """

    columns: Mapping[str, Sequence[Any]]
    places: Callable[[int], Place]

    def __len__(self) -> int:
        return max((len(values) for values in self.columns.values()), default=0)

    def row(self, number: int) -> dict[str, Any]:
        """The values of one row by role."""
        return {role: values[number] for role, values in self.columns.items()}


def caption_rows(path: Path, *, columns: Mapping[str, str]) -> Iterator[CaptionRows]:
    """The rows of a caption file; columns are found as `read_caption_file` finds them.

    Raises:
        CorpusError: where it raises one, which says more.
    """
    empty = True
    for rows in _pieces(path, columns):
        empty = False
        yield rows
    if empty:
        raise refused(Place(path), "holds no rows")


def _pieces(path: Path, columns: Mapping[str, str]) -> Iterator[CaptionRows]:
    kind, separator = kind_of(path)
    if kind is Kind.TABLE:
        return _table(path, columns, usual=separator)
    return _parquet(path, columns) if kind is Kind.PARQUET else _rows(path, columns)


def _table(path: Path, columns: Mapping[str, str], *, usual: str) -> Iterator[CaptionRows]:
    wanted = {role: columns.get(role, role) for role in ROLES}
    names = {wanted[role].strip().casefold() for role in ("video_id", "path")}
    layout = layout_of(path, names=names, usual=usual)
    caption, roles = wanted["caption"].strip().casefold(), None
    for lines, values in read_columns(path, layout=layout, rows=_ROWS):
        if roles is None:
            roles = columns_by_role(Place(path, lines[0]), tuple(values), columns)
        found: dict[str, Sequence[str]] = {}
        for role, name in roles.items():
            text = name.casefold() == caption
            found[role] = values[name] if text else list(map(str.strip, values[name]))
        yield CaptionRows(found, _numbered(path, lines))


def _parquet(path: Path, columns: Mapping[str, str]) -> Iterator[CaptionRows]:
    wanted = {columns.get(role, role).strip().casefold() for role in ROLES}
    roles = None
    for first, names, values in parquet_columns(path, wanted=wanted):
        if roles is None:
            roles = columns_by_role(Place(path, first), tuple(names), columns)
        lines = range(first, first + len(next(iter(values.values()), ())))
        found = {role: values[name] for role, name in roles.items()}
        yield CaptionRows(found, _numbered(path, lines))


def _numbered(path: Path, lines: Sequence[int]) -> Callable[[int], Place]:
    return lambda row: Place(path, lines[row])


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[CaptionRows]:
    """Of objects: each may have keys of its own."""
    rows = read_caption_file(path, columns=columns)
    while some := list(islice(rows, _ROWS)):
        roles = {role for _, row in some for role in row}
        found = {role: [row.get(role) for _, row in some] for role in roles}
        places = [at for at, _ in some]
        yield CaptionRows(found, places.__getitem__)
