"""Reads people's own caption files: CSV, TSV, JSONL or Parquet, their columns by role."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.storage.corpora.annotations import Place, read_lines, read_rows, refused

__all__ = ["Row", "read_caption_file"]

Row = tuple[Place, dict[str, Any]]
"""Where it stands (a Parquet file's lines are its rows) and its values by role."""

ROLES = ("video_id", "path", "caption", "subset", "split", "start", "end")


def read_caption_file(path: Path, *, columns: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a caption file, streaming; roles whose column the file lacks are left out.

    Args:
        path: .csv, .tsv (with a header), .jsonl (an object a line) or .parquet.
        columns: Column by role; a role that is not in it has a column of its own name, or none.

    Raises:
        CorpusError: another format, a column that is not there, or neither ids nor paths.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]] = {
        ".csv": read_rows,
        ".tsv": lambda file: read_rows(file, delimiter="\t"),
        ".jsonl": _json_lines,
        ".parquet": _parquet_rows,
    }
    read = readers.get(path.suffix.lower())
    if read is None:
        raise refused(Place(path), f"captions are read from {', '.join(readers)}; convert the file")
    wanted = {role: columns.get(role, role) for role in ROLES}
    checked = False
    for line, values in read(path):
        if not checked:
            checked = True
            _check_header(Place(path, line), tuple(values), columns, wanted)
        yield (
            Place(path, line),
            {role: values[name] for role, name in wanted.items() if name in values},
        )
    if not checked:
        raise refused(Place(path), "holds no rows; leave `captions` out to embed videos only")


def _check_header(
    at: Place, header: tuple[str, ...], columns: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    for role, name in columns.items():
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise refused(
                at,
                f"no column {name!r} (mapped to {role}); {hint}the columns are:"
                f" {', '.join(header) or 'none'}",
            )
    if wanted["video_id"] not in header and wanted["path"] not in header:
        raise refused(
            at,
            f"no column names the video (the columns are: {', '.join(header) or 'none'}); map one,"
            " e.g. --set corpus.columns.video_id=YOUR_COLUMN, or path=YOUR_COLUMN",
        )


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in read_lines(path):
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise refused(
                Place(path, line), f"not JSON ({error}); JSONL holds one object a line"
            ) from error
        if not isinstance(values, dict):
            raise refused(
                Place(path, line), f"a {type(values).__name__}; JSONL holds one object a line"
            )
        yield line, values


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        # opened apart: a file that turns out not to be Parquet is closed too
        with pa.OSFile(str(path)) as stream, pq.ParquetFile(stream) as file:
            line = 0
            for batch in file.iter_batches(batch_size=16384):
                for values in batch.to_pylist():
                    line += 1
                    yield line, values
    except FileNotFoundError:
        raise refused(
            Place(path), "no such file; put the caption file there or correct the path"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise refused(
            Place(path), f"not a readable Parquet file ({error}); write it again"
        ) from error
