"""Captions of a Parquet file, read in a sandbox: what it unpacks to is bounded there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from reelvec.configs.decoding import JobLimits
from reelvec.storage.corpora.annotations import Place, refused, shown
from reelvec.storage.corpora.opening import open_annotation, unpacked_limit
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.pool import Sandbox

__all__ = ["parquet_columns", "parquet_rows", "parquet_table"]

_ROWS = 65_536
_SLICE_BYTES = 32 * 2**20
"""A slice of a row group: so many rows, or so many bytes as the file says."""
_RESULT_BYTES = 256 * 2**20
_VALUE_BYTES = 8
"""What a row takes at least."""
_BATCH = 4096

_OPTIONS = SandboxOptions(
    limits=JobLimits(deadline_seconds=60.0, no_progress_seconds=60.0, memory_mb=1024),
    max_result_bytes=_RESULT_BYTES,
    results_ahead=1,
    preload=("numpy", "pyarrow.parquet"),
)
_WORKER = "reelvec.storage.corpora.own.parquet_worker:read_parquet"
_AGAIN = "write it again, uncompressed if it is meant so"


def parquet_rows(path: Path, *, wanted: Collection[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number, from 1, and values by column, as `parquet_columns` has them.

    Raises:
        CorpusError: as there.
    """
    for first, names, values in parquet_columns(path, wanted=wanted):
        for line, row in enumerate(zip(*(values[name] for name in names), strict=True), first):
            yield line, dict(zip(names, row, strict=True))


def parquet_columns(
    path: Path, *, wanted: Collection[str]
) -> Iterator[tuple[int, list[str], dict[str, list[Any]]]]:
    """Some rows at once: the number of the first, from 1, all names, and values by column.

    Columns are read whose folded name is wanted. The others are None: that they are there is all
    that is known of them.

    Raises:
        CorpusError: not Parquet, columns that hold no captions, or more than its size may hold.
    """
    with open_annotation(path) as file:  # a pipe, a folder, no file
        size = file.seek(0, os.SEEK_END)
    with Sandbox(_WORKER, options=_OPTIONS) as sandbox:
        about, _ = _ask(sandbox, {"path": str(path)})
        names = [name for name, _ in about["columns"]]
        kinds = {name: kind for name, kind in about["columns"] if name.strip().casefold() in wanted}
        for name, kind in kinds.items():
            none = kind in ("", "fact")
            if none or names.count(name) > 1:
                what = "is no text, number or list of texts" if none else "is named twice"
                raise refused(Place(path), f"column {shown(name)} {what}; write the file again")
        first, columns = 1, list(kinds)
        for table in _tables(sandbox, path, groups=about["groups"], columns=columns, size=size):
            for batch in table.to_batches(max_chunksize=_BATCH):
                values = {name: [None] * batch.num_rows for name in names}
                values |= {name: batch.column(name).to_pylist() for name in columns}
                yield first, list(values), values
                first += batch.num_rows


def parquet_table(path: Path) -> pa.Table:
    """All rows, and the columns that hold texts, numbers, truth values, times or lists of texts.

    Raises:
        CorpusError: not Parquet, a name twice, or more than its size may hold.
    """
    with open_annotation(path) as file:
        size = file.seek(0, os.SEEK_END)
    with Sandbox(_WORKER, options=_OPTIONS) as sandbox:
        about, _ = _ask(sandbox, {"path": str(path)})
        columns = [name for name, kind in about["columns"] if kind]
        twice = [name for name in columns if columns.count(name) > 1]
        if twice:
            raise refused(Place(path), f"column {shown(twice[0])} is named twice; write it again")
        groups = about["groups"]
        pieces = list(_tables(sandbox, path, groups=groups, columns=columns, size=size))
    return pa.concat_tables(pieces) if pieces else pa.table({name: [] for name in columns})


def _tables(
    sandbox: Sandbox, path: Path, *, groups: list[list[int]], columns: list[str], size: int
) -> Iterator[pa.Table]:
    """The rows of all groups, slice by slice, as far as a file of ``size`` bytes may unpack."""
    room, line = unpacked_limit(size), 0
    if sum(rows for rows, _ in groups) * _VALUE_BYTES > room:
        raise refused(Place(path), f"more rows than a file of {size:,} bytes may hold; {_AGAIN}")
    for group, (rows, unpacked) in enumerate(groups):
        step = max(1, min(_ROWS, rows * _SLICE_BYTES // max(1, unpacked)))
        for number in range(-(-rows // step)):
            part = {"group": group, "columns": columns, "rows": step, "slice": number}
            _, data = _ask(sandbox, {"path": str(path), **part}, line=line)
            table = pa.ipc.open_stream(pa.py_buffer(data[0])).read_all()
            line += table.num_rows
            room -= table.nbytes
            if room < 0:
                raise refused(Place(path), f"unpacks to far more than its {size:,} bytes; {_AGAIN}")
            yield table


def _ask(
    sandbox: Sandbox, job: dict[str, Any], *, line: int = 0
) -> tuple[dict[str, Any], tuple[npt.NDArray[Any], ...]]:
    """The worker's answer and its arrays; ``line`` rows were read before."""
    (result,) = sandbox.run([job])
    answer = result.value or {}
    place = Place(Path(job["path"]), line + 1 + answer["row"] if "row" in answer else 0)
    if "refused" in answer:
        raise refused(place, f"not a readable Parquet file ({answer['refused']}); write it again")
    if result.reason == "memory":
        raise refused(
            place,
            f"its values unpack to more than is read at once ({result.message}); {_AGAIN}, in row"
            " groups of fewer rows",
        )
    if result.reason:
        raise refused(
            place,
            f"not a readable Parquet file ({result.reason}: {result.message}); write it again",
        )
    return answer, result.arrays
