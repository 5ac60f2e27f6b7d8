"""Reads people's own caption files: text tables, JSON or Parquet, their columns by role."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from reelvec.storage.corpora.annotations import Place, read_lines, refused, shown
from reelvec.storage.corpora.delimited import layout_of, read_rows
from reelvec.storage.corpora.own.json_documents import is_a_document, json_rows
from reelvec.storage.corpora.own.parquet import parquet_rows

__all__ = [
    "ROLES",
    "Kind",
    "Row",
    "columns_by_role",
    "kind_of",
    "nearest_column",
    "read_caption_file",
]

Row = tuple[Place, dict[str, Any]]
"""Where it stands (a Parquet file's lines are its rows) and its values by role."""

ROLES = ("video_id", "path", "caption", "subset", "split", "start", "end")


class Kind(Enum):
    """How the rows of a caption file are written."""

    TABLE = "a line a row"
    PARQUET = "Parquet"
    LINES = "an object a line"
    DOCUMENT = "one JSON document"


_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|", ".txt": ","}
"""By ending; another one is found where the header has it."""
_LINES = (".jsonl", ".ndjson", ".jsonlines")
_DOCUMENTS = (".json",)
_PARQUET = (".parquet", ".pq")
_PACKED = (".gz", ".bz2", ".zst")
_OTHER_NAMES = {
    "video_id": ("id", "vid", "video", "video_name", "clip", "clip_id", "name", "key"),
    "path": ("file", "file_name", "filename", "filepath", "video_path"),
    "caption": ("text", "sentence", "sentences", "captions", "description", "title", "query"),
}
"""What others call these columns: named as the nearest one, never taken unasked."""
_COLUMNS_SHOWN = 20
_COLUMNS_READ = 10_000


def read_caption_file(path: Path, *, columns: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a caption file; roles whose column the file lacks are left out.

    Text tables, JSONL and Parquet are read row by row, a JSON document whole. Columns are found
    whatever their case and the spaces around them, where only one fits.

    Args:
        path: .csv, .tsv (with a header), .jsonl (an object a line), .json or .parquet; text may be
            compressed (.csv.gz).
        columns: Column by role; a role that is not in it has a column of its own name, or none.

    Raises:
        CorpusError: another format, a column that is not there, or neither ids nor paths.
    """
    wanted = {role: columns.get(role, role) for role in ROLES}

    @lru_cache(maxsize=64)  # the objects of a JSONL file may each have keys of their own
    def names_of(header: tuple[str, ...]) -> dict[str, str]:
        return _columns(Place(path), header, wanted)

    checked = False
    for at, values in _rows(path, wanted):
        names = names_of(tuple(values))
        if not checked:
            checked = True
            _check_header(at, tuple(values), names, columns)
        yield at, {role: values[name] for role, name in names.items()}
    if not checked:
        raise refused(Place(path), "holds no rows; leave `captions` out to embed videos only")


def nearest_column(path: Path, *, columns: Mapping[str, str], role: str) -> str:
    """The column of the file that is most like what the role should be called; "" for none."""
    wanted = {name: columns.get(name, name) for name in ROLES}
    _, values = next(_rows(path, wanted))
    return _nearest(role, wanted[role], tuple(values))


def kind_of(path: Path) -> tuple[Kind, str]:
    """How the rows of the file are written, and the separator that its name stands for.

    Raises:
        CorpusError: a format that is not read, or a file that cannot be.
    """
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    if endings and endings[-1] in _PACKED:
        endings.pop()
    ending = endings[-1] if endings else ""
    if ending in _SEPARATORS:
        return Kind.TABLE, _SEPARATORS[ending]
    if ending in _PARQUET and path.suffix.lower() not in _PACKED:
        return Kind.PARQUET, ""
    if ending in _LINES or ending in _DOCUMENTS:
        document = is_a_document(path, expected=ending in _DOCUMENTS)
        return Kind.DOCUMENT if document else Kind.LINES, ""
    known = ", ".join([*_SEPARATORS, *_LINES, *_DOCUMENTS, *_PARQUET])
    raise refused(
        Place(path),
        f"captions are read from {known} (text also with {', '.join(_PACKED)}); convert the file",
    )


def columns_by_role(
    at: Place, header: tuple[str, ...], columns: Mapping[str, str]
) -> dict[str, str]:
    """The file's own column of each role that has one, as `read_caption_file` finds them.

    Raises:
        CorpusError: one that is mapped is not there, or none names the video.
    """
    names = _columns(at, header, {role: columns.get(role, role) for role in ROLES})
    _check_header(at, header, names, columns)
    return names


def _rows(path: Path, wanted: Mapping[str, str]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Rows by the file's own columns."""
    kind, separator = kind_of(path)
    if kind is Kind.TABLE:
        return _table_rows(path, wanted, usual=separator)
    if kind is Kind.PARQUET:
        names = {name.strip().casefold() for name in wanted.values()}
        return ((Place(path, line), row) for line, row in parquet_rows(path, wanted=names))
    if kind is Kind.DOCUMENT:
        return json_rows(path, columns=wanted)
    return _json_lines(path)


def _table_rows(
    path: Path, wanted: Mapping[str, str], *, usual: str
) -> Iterator[tuple[Place, dict[str, Any]]]:
    names = {wanted[role].strip().casefold() for role in ("video_id", "path")}
    layout = layout_of(path, names=names, usual=usual)
    caption = wanted["caption"].strip().casefold()
    for line, values in read_rows(path, layout=layout):
        # a table of text has no types: spaces around a cell are no part of an id, a path, a time
        row = {
            name: value if name.casefold() == caption else value.strip()
            for name, value in values.items()
        }
        yield Place(path, line), row


def _json_lines(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    for line, text in read_lines(path):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise refused(
                Place(path, line), f"not JSON ({error}); JSONL holds one object a line"
            ) from error
        if not isinstance(values, dict):
            raise refused(
                Place(path, line), f"a {type(values).__name__}; JSONL holds one object a line"
            )
        yield Place(path, line), values


def _columns(at: Place, header: tuple[str, ...], wanted: Mapping[str, str]) -> dict[str, str]:
    """The file's own column by role: the name as it is wanted, else the one that folds to it."""
    if len(header) > _COLUMNS_READ:
        raise refused(at, f"a row of {len(header):,} columns; {_COLUMNS_READ:,} are read at most")
    by_fold: dict[str, list[str]] = {}
    for column in header:
        by_fold.setdefault(column.strip().casefold(), []).append(column)
    found: dict[str, str] = {}
    for role, name in wanted.items():
        like = by_fold.get(name.strip().casefold(), [])
        if name in like:
            found[role] = name
        elif len(like) > 1:
            raise refused(
                at, f"columns {shown(like[0])} and {shown(like[1])} may both be {name}; rename one"
            )
        elif like:
            found[role] = like[0]
    return found


def _check_header(
    at: Place, header: tuple[str, ...], names: Mapping[str, str], columns: Mapping[str, str]
) -> None:
    listed = ", ".join(header[:_COLUMNS_SHOWN]) + (", …" if header[_COLUMNS_SHOWN:] else "")
    for role, name in columns.items():
        if role not in names:
            near = _nearest(role, name, header)
            hint = f"did you mean {near!r}? " if near else ""
            raise refused(
                at,
                f"no column {name!r} (mapped to {role}); {hint}the columns are: {listed or 'none'}",
            )
    if "video_id" not in names and "path" not in names:
        near = _nearest("video_id", "video_id", header) or "YOUR_COLUMN"
        path = _nearest("path", "path", header) or "YOUR_COLUMN"
        raise refused(
            at,
            f"no column names the video (the columns are: {listed or 'none'}); map one,"
            f" e.g. --set corpus.columns.video_id={near}, or"
            f" --set corpus.columns.path={path}",
        )


def _nearest(role: str, name: str, header: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, header, n=1)
    others = _OTHER_NAMES.get(role, ())
    known = [column for column in header if column.strip().casefold() in others]
    return next(iter([*close, *known]), "")
