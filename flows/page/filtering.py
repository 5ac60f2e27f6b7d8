"""Filters of the page: closed conditions over the corpus and what the caller knows of videos."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from reelvec.errors import RequestError
from reelvec.flows.page.documents import Document
from reelvec.flows.page.open_runs import OpenRun
from reelvec.storage.file_marks import FileMark
from reelvec.tasks.searching.conditions import Condition, columns_of, described, fitting
from reelvec.tasks.searching.filters import attributes_in

__all__ = ["Attributes", "columns", "only_fitting"]

_MOST = 12
"""Conditions of a request."""


class Attributes:
    """The caller's file of attributes, read again when it is another.

    Args:
        path: a Parquet file with `video_id`; None: there is none.

    Raises:
        RequestError: it is no such table.
        CorpusError: it cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path.expanduser().absolute() if path is not None else None
        self._lock = threading.Lock()
        self._mark = FileMark()
        self._table: pa.Table | None = None
        self.table()

    def table(self) -> tuple[FileMark, pa.Table | None]:
        """What it holds now, and by what that is known."""
        if self._path is None:
            return self._mark, None
        with self._lock:
            mark = FileMark.at(str(self._path))
            if self._table is None or mark != self._mark:
                self._table = attributes_in(self._path)
                self._mark = mark
            return self._mark, self._table


def columns(opened: OpenRun, attributes: Attributes) -> Document:
    """What can be filtered by."""
    found = columns_of(_described(opened, attributes))
    return {"state": opened.state, "columns": [asdict(column) for column in found]}


def only_fitting(opened: OpenRun, attributes: Attributes, *, where: str | None) -> pa.Array | None:
    """The ids of the videos that fit `where`, a JSON list of [column, operation, value].

    Raises:
        RequestError: it is no such list, or `fitting` refuses it.
    """
    conditions = _conditions(where) if where else []
    return fitting(_described(opened, attributes), conditions) if conditions else None


def _described(opened: OpenRun, attributes: Attributes) -> pa.Table:
    """Joined once for the run's snapshots and the file as it is."""
    mark, table = attributes.table()
    known, made = opened.made.get("described", (None, None))
    if known != mark or made is None:
        made = described(opened.search.searcher.videos.table, table)
        opened.made["described"] = (mark, made)
    return made


def _conditions(where: str) -> list[Condition]:
    try:
        given: Any = json.loads(where)
        if not isinstance(given, list):
            raise TypeError(given)
        found = [Condition(*_parts(one)) for one in given]
    except (ValueError, TypeError, RecursionError):
        raise RequestError(
            f"where ({where:.80}) must be a JSON list of [column, operation, value]"
        ) from None
    if len(found) > _MOST:
        raise RequestError(f"{len(found)} filters are asked for; {_MOST} are the most")
    return found


def _parts(one: object) -> tuple[str, str, str | float | bool | None]:
    """The three parts of a condition; the value may be left out."""
    if not isinstance(one, list) or len(one) not in (2, 3):
        raise TypeError(one)
    column, operation, value = [*one, None][:3]
    if not (isinstance(column, str) and isinstance(operation, str)):
        raise TypeError(one)
    if not (value is None or isinstance(value, str | int | float)):
        raise TypeError(one)
    return column, operation, value
