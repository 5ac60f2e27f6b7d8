"""Which videos fit closed conditions: a column, an operation and a value, and nothing to parse.

This is what a page may ask for. `filters` is for the owner of the store: an expression of DuckDB's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelvec.errors import RequestError

__all__ = ["Condition", "FilterColumn", "columns_of", "described", "fitting"]

_KEY = "video_id"
_OF_CORPUS = (
    "split", "path", "container", "codec", "width", "height", "rotation", "fps_container",
)  # fmt: skip
_MOST_VALUES = 40
_COMPARED: Mapping[str, Callable[[pa.ChunkedArray, pa.Scalar], pa.ChunkedArray]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_OPERATIONS = {
    "number": ("=", "!=", "<", "<=", ">", ">=", "has none"),
    "text": ("=", "!=", "contains", "has none"),
    "truth": ("=", "has none"),
    "time": ("<", "<=", ">", ">=", "has none"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One of several that must all hold."""

    column: str
    operation: str
    value: str | float | bool | None = None


@dataclass(frozen=True, slots=True)
class FilterColumn:
    """What can be asked of a column."""

    name: str
    kind: str
    """number, text, truth or time."""
    operations: tuple[str, ...]
    values: tuple[str, ...] = ()
    """All there are, sorted, of a text that has few."""


def described(videos: pa.Table, attributes: pa.Table | None = None) -> pa.Table:
    """What is known of each video: video_id, columns of the corpus, `duration`, the attributes.

    Args:
        videos: of the corpus.
        attributes: `filters.attributes_in` a file, by `video_id`; null for a video not in it.

    Raises:
        RequestError: an attribute is called as a column of the corpus.
    """
    table = videos.select([_KEY, *_OF_CORPUS]).append_column("duration", _duration(videos))
    if attributes is None:
        return table
    own = [name for name in attributes.column_names if name != _KEY]
    for name in own:
        if name in table.column_names:
            raise RequestError(
                f"the corpus has a column {name} itself; give that of the attributes another name"
            )
    rows = pc.index_in(table.column(_KEY), value_set=attributes.column(_KEY).combine_chunks())
    for name in own:
        table = table.append_column(name, attributes.column(name).take(rows))
    return table


def _duration(videos: pa.Table) -> pa.ChunkedArray:
    """Seconds of what is meant of a file; null where nothing declares them."""

    def known(name: str) -> pa.ChunkedArray:
        column = videos.column(name)
        return pc.if_else(pc.greater(column, 0), column, None)

    counted = pc.divide(known("frames_counted"), known("fps_container"))
    end = pc.coalesce(videos.column("end_seconds"), known("duration_seconds_from_header"), counted)
    return pc.subtract(end, pc.coalesce(videos.column("start_seconds"), 0.0))


def columns_of(table: pa.Table) -> list[FilterColumn]:
    """The columns of `described` that conditions may name; those of other types are left out."""
    found = []
    for field in table.schema:
        kind = _kind(field.type)
        if kind and field.name != _KEY:
            values = _few_values(table.column(field.name)) if kind == "text" else ()
            found.append(FilterColumn(field.name, kind, _OPERATIONS[kind], values))
    return found


def _kind(of: pa.DataType) -> str:
    if pa.types.is_boolean(of):
        return "truth"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_dictionary(of):
        return "text"
    return "time" if pa.types.is_date(of) or pa.types.is_timestamp(of) else ""


def _few_values(column: pa.ChunkedArray) -> tuple[str, ...]:
    values = pc.unique(_plain(column)).drop_null()
    return tuple(sorted(values.to_pylist())) if len(values) <= _MOST_VALUES else ()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that are kept as numbers of a dictionary, as texts."""
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def fitting(table: pa.Table, conditions: Sequence[Condition]) -> pa.Array:
    """The ids of the videos of which every condition holds; a video without a value fits none.

    Raises:
        RequestError: a column or operation that is not there, a value of another kind, no video
            that fits.
    """
    known = {column.name: column.kind for column in columns_of(table)}
    masks = [_holds(table, condition, known) for condition in conditions]
    mask = reduce(pc.and_, masks, pa.chunked_array([pa.repeat(True, table.num_rows)]))
    ids = table.column(_KEY).filter(pc.fill_null(mask, False)).combine_chunks()
    if not len(ids):
        words = " and ".join(f"{c.column} {c.operation} {c.value}" for c in conditions)
        raise RequestError(f"no video fits the filters ({words:.300})")
    return ids.cast(pa.string())


def _holds(table: pa.Table, condition: Condition, known: Mapping[str, str]) -> pa.ChunkedArray:
    if condition.column not in known:
        raise RequestError(
            f"no column is called ({condition.column:.80}); there are {', '.join(sorted(known))}"
        )
    kind = known[condition.column]
    if condition.operation not in _OPERATIONS[kind]:
        raise RequestError(
            f"({condition.operation:.20}) cannot be asked of {condition.column}, a {kind}; ask one"
            f" of {', '.join(_OPERATIONS[kind])}"
        )
    column = _plain(table.column(condition.column))
    if condition.operation == "has none":
        return pc.is_null(column)
    value = _value(condition, column.type, kind)
    if condition.operation == "contains":
        return pc.match_substring(column, value.as_py(), ignore_case=True)
    if kind == "number":
        column = column.cast(pa.float64(), safe=False)
    return _COMPARED[condition.operation](column, value)


def _value(condition: Condition, of: pa.DataType, kind: str) -> pa.Scalar[Any]:
    """The value in the column's type.

    Raises:
        RequestError: it is of another kind.
    """
    given, wanted = condition.value, {"number": "a number", "truth": "true or false"}
    examples = {"text": "a text", "time": "a time such as 2026-03-01 or 2026-03-01T12:00:00"}
    try:
        if kind == "number" and isinstance(given, int | float) and not isinstance(given, bool):
            return pa.scalar(float(given), pa.float64())
        if kind == "truth" and isinstance(given, bool):
            return pa.scalar(given)
        if kind == "text" and isinstance(given, str):
            return pa.scalar(given, of)
        if kind == "time" and isinstance(given, str):
            return pa.scalar(given).cast(of)
    except (pa.ArrowException, ValueError, OverflowError):
        pass
    raise RequestError(
        f"{condition.column} cannot be compared with ({given!s:.80}): give"
        f" {(wanted | examples)[kind]}"
    )
