"""What reads Parquet inside a sandbox worker: a file's pages may unpack to anything.

Functions of JSON values (see storage.sandbox.worker.Target); rows go back as an Arrow stream.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.storage.sandbox.worker import Worker

__all__ = ["read_parquet"]


def read_parquet(job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    """What the file at job["path"] holds, or some of its rows.

    Args:
        job: path; for rows also group, columns, and which slice of how many rows.
        worker: gives the memory of the rows.

    Returns:
        columns (name and kind of each) and groups (rows and unpacked bytes of each); or, for rows,
        an array (uint8) with an Arrow stream; or, instead, why it is refused and in which row.
    """
    try:
        with pa.OSFile(job["path"]) as stream, pq.ParquetFile(stream) as file:
            return _rows(file, job, worker) if "group" in job else _facts(file)
    except MemoryError:  # Arrow's own is an ArrowException too
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        return {"refused": str(error)}


def _facts(file: pq.ParquetFile) -> dict[str, Any]:
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    return {
        "columns": [[field.name, _kind(field.type)] for field in file.schema_arrow],
        "groups": [[group.num_rows, group.total_byte_size] for group in groups],
    }


def _rows(file: pq.ParquetFile, job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    batches = file.iter_batches(
        batch_size=job["rows"],
        row_groups=[job["group"]],
        columns=job["columns"],
        use_threads=False,
    )
    batch = next(islice(batches, job["slice"], None), None)
    if batch is None:
        return {"refused": "fewer rows than it says"}
    table = _plain(pa.Table.from_batches([batch]))
    broken = _broken_row(table)
    if broken is not None:
        return {"refused": "its text is not UTF-8", "row": broken}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = np.frombuffer(sink.getvalue(), np.uint8)
    worker.allocate(data.shape)[:] = data
    return {}


def _kind(kind: pa.DataType) -> str:
    """What a column holds: text, number, texts, fact (what no caption is, but a table may have)."""
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return "number"
    if any(is_text(kind) for is_text in _IS_TEXT):
        return "text"
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return "fact"
    if any(is_list(kind) for is_list in _IS_LIST):
        return "texts" if _kind(kind.value_type) in ("text", "number") else ""
    return ""


_IS_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_IS_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def _plain(table: pa.Table) -> pa.Table:
    """Without dictionaries, which would unpack where nobody counts."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(number).cast(field.type.value_type)
            table = table.set_column(number, field.name, column)
    return table


def _broken_row(table: pa.Table) -> int | None:
    """The first row with text that is not UTF-8."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        for row in range(table.num_rows):
            try:
                table.slice(row, 1).to_pylist()
            except UnicodeDecodeError:
                return row
        raise
    return None
