"""Captions in one JSON document, in the shapes people publish them in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reelvec.storage.corpora.annotations import Place, parse_json, read_text, refused, shown
from reelvec.storage.corpora.opening import open_annotation

__all__ = ["is_a_document", "json_rows"]

_HEAD_BYTES = 65_536

Rows = Iterator[tuple[Place, dict[str, Any]]]


def is_a_document(path: Path, *, expected: bool) -> bool:
    """Whether the file is one JSON document, and not an object a line, whatever its name says.

    Args:
        path: the file; its first 64 KiB are looked at.
        expected: what its name says, taken where its beginning fits both.
    """
    with open_annotation(path) as file:
        head = file.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    if not expected:
        return head.startswith("[")
    first, _, rest = head.partition("\n")
    try:
        return not (rest.strip() and isinstance(json.loads(first), dict))
    except (ValueError, RecursionError):
        return True


def json_rows(path: Path, *, columns: Mapping[str, str]) -> Rows:
    """The rows of a JSON document.

    It may be a list of objects; an object of id -> captions (a text, a list of texts, an object, or
    a list of objects); an object of such lists, as MSR-VTT's ``videos`` and ``sentences``; or one
    list a column, as pandas writes it.

    Args:
        path: the file, read whole.
        columns: column by role; those of ``video_id``, ``path`` and ``caption`` are used.

    Raises:
        CorpusError: not JSON, or another shape.
    """
    document = parse_json(read_text(path), path=path)
    video = {columns[role].strip().casefold() for role in ("video_id", "path")}
    if isinstance(document, list):
        yield from _objects(document, path=path, video=video)
        return
    if not isinstance(document, dict):
        raise refused(Place(path), f"the document is {shown(document)}; {_SHAPES}")
    named = _named(document, video)
    lists = [value for value in document.values() if _lists_videos(value, video)]
    if named and isinstance(document[named], list | dict):
        yield from _transposed(document, named=named, path=path)
    elif named:
        yield Place(path), document
    elif lists:
        for entries in lists:
            yield from _objects(entries, path=path, video=video)
    else:
        for video_id, value in document.items():
            for entry in _entries(value, at=Place(path, key=video_id), caption=columns["caption"]):
                yield Place(path, key=video_id), {**entry, columns["video_id"]: video_id}


_SHAPES = "captions are a list of objects, or an object of id -> captions"


def _named(entry: Mapping[str, Any], video: set[str]) -> str:
    """The key of the object that names the video; "" where none does."""
    return next((key for key in entry if key.strip().casefold() in video), "")


def _lists_videos(value: object, video: set[str]) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and bool(_named(first, video))


def _objects(entries: list[Any], *, path: Path, video: set[str]) -> Rows:
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise refused(Place(path), f"entry {number} is {shown(entry)}; {_SHAPES}")
        name = entry.get(_named(entry, video))
        yield Place(path, key=name if isinstance(name, str) else ""), entry


def _transposed(document: Mapping[str, Any], *, named: str, path: Path) -> Rows:
    """One list, or one object of row -> value, a column."""
    rows = document[named]
    for name, values in document.items():
        if type(values) is not type(rows) or len(values) != len(rows):
            raise refused(
                Place(path),
                f"column {shown(name)} has not one value a row as {shown(named)} has; {_SHAPES}",
            )
    for key in range(len(rows)) if isinstance(rows, list) else rows:
        try:
            row = {name: values[key] for name, values in document.items()}
        except KeyError:
            raise refused(Place(path), f"row {shown(key)} is not in every column") from None
        yield Place(path, key=row[named] if isinstance(row[named], str) else ""), row


def _entries(value: object, *, at: Place, caption: str) -> list[dict[str, Any]]:
    """Rows of one id, without their id."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return value
    nested = isinstance(value, list) and any(isinstance(entry, list | dict) for entry in value)
    if nested or not isinstance(value, str | list | None):
        raise refused(at, f"{shown(at.key)} has {shown(value)}; {_SHAPES}")
    return [{caption: value}]
