"""Which videos an expression over the corpus and a caller's own attributes lets through.

The expression is DuckDB's SQL for what stands behind WHERE. It is parsed as that alone, in a
database in memory that can reach no file, no network, no extension and no variable of this process.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reelvec.errors import RequestError
from reelvec.storage.corpora.own.parquet import parquet_table

__all__ = ["attributes_in", "videos_where"]

_OURS = ("packets",)  # a cache of the probe: nobody asks for it
_KEY = "video_id"
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "threads": "1",
}
_DURATION = (
    "coalesce(end_seconds, nullif(duration_seconds_from_header, 0),"
    " frames_counted / nullif(fps_container, 0)) - coalesce(start_seconds, 0) AS duration"
)
"""Seconds of what is meant of a file; NULL where nothing declares them."""


def attributes_in(path: str | Path) -> pa.Table:
    """The rows of a caller's Parquet file: `video_id`, each once, and what else it says of them.

    Raises:
        RequestError: no `video_id` of texts in it, or one of them twice.
        CorpusError: it is not readable as Parquet.
    """
    table = parquet_table(Path(path).expanduser().absolute())  # its reader stands elsewhere
    if _KEY not in table.column_names or not pa.types.is_string(table.schema.field(_KEY).type):
        there = ", ".join(table.column_names) or "none"
        raise RequestError(
            f"the attributes ({path}) have no column video_id of texts (they have: {there}); write"
            " one row a video, with the ids that `reelvec search` shows"
        )
    counts = pc.value_counts(table.column(_KEY).combine_chunks())
    twice = [row["values"].as_py() for row in counts if row["counts"].as_py() > 1][:1]
    if twice:
        raise RequestError(
            f"the attributes ({path}) have the video ({twice[0]}) more than once; write one row a"
            " video"
        )
    return table


def videos_where(where: str, *, videos: pa.Table, attributes: pa.Table | None = None) -> pa.Array:
    """The ids of the videos that fit.

    Args:
        where: an expression, such as ``duration > 10 and lang = 'en'``.
        videos: of the corpus; `duration` (seconds) is added to their columns.
        attributes: `attributes_in` a file, by `video_id`; NULL for a video that it does not name.

    Raises:
        RequestError: DuckDB is not installed or does not understand the expression; columns of the
            attributes that the corpus has; no video fits.
    """
    try:
        import duckdb
    except ImportError:
        raise RequestError(
            "an expression needs DuckDB, which is not installed: pip install 'reelvec[filters]'"
        ) from None
    videos = videos.drop_columns([name for name in _OURS if name in videos.column_names])
    if attributes is not None:
        both = sorted((set(attributes.column_names) - {_KEY}) & {*videos.column_names, "duration"})
        if both:
            raise RequestError(
                f"the corpus has a column {both[0]} itself; give that of the attributes another"
                " name"
            )
    with closing(duckdb.connect(":memory:", config=_CLOSED)) as connection:
        rows = connection.from_arrow(videos).project(f"*, {_DURATION}")
        if attributes is not None:
            rows = rows.join(connection.from_arrow(attributes), _KEY, how="left")
        try:
            found = rows.filter(where).project(_KEY).to_arrow_table()
        except duckdb.Error as error:
            why, columns = str(error).splitlines()[0], ", ".join(rows.columns)
            raise RequestError(
                f"cannot filter by ({where}): {why.rstrip('.!')}. The columns are: {columns}"
            ) from None
    if not found.num_rows:
        raise RequestError(f"no video fits ({where}); `reelvec search` without it looks at all")
    return found.column(_KEY).combine_chunks().cast(pa.string())
