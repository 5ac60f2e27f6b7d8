"""Any number of captions in bounded memory: the last few thousand in it, the rest on disk."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import eq
from typing import IO, overload

import pyarrow as pa

from reelvec.storage.records import CAPTION_SCHEMA, Caption, records_from_table, records_to_table

__all__ = ["CaptionList", "CaptionStretch", "caption_tables"]

CHUNK = 65_536
"""Captions kept in memory; each so many more are one Arrow batch of a temporary file."""


class CaptionList(Sequence[Caption]):
    """Captions in the order they were appended.

    Up to ``chunk`` of them never touch the disk. The file has no name: it goes with the list, also
    when the process is killed. Reading in order holds two chunks at most; by index, one a call;
    a slice, those it lies in one after the other.
    """

    def __init__(self, *, chunk: int = CHUNK) -> None:
        self._chunk = chunk
        self._recent = pa.Table.from_batches([], schema=CAPTION_SCHEMA)
        self._appended: list[Caption] = []  # after those
        self._batches: list[tuple[int, int]] = []  # offset and bytes of each
        self._file: IO[bytes] | None = None

    @property
    def spilled(self) -> bool:
        """Whether some are on disk."""
        return bool(self._batches)

    def append(self, caption: Caption) -> None:
        """Add one at the end."""
        self._appended.append(caption)
        if self._recent.num_rows + len(self._appended) > self._chunk:
            self._spill()

    def extend(self, captions: pa.Table) -> None:
        """Add columns of captions at the end."""
        self._recent = pa.concat_tables([self._in_memory(), captions.cast(CAPTION_SCHEMA)])
        self._appended = []
        if self._recent.num_rows > self._chunk:
            self._spill()

    def tables(self) -> Iterator[pa.Table]:
        """All of them as columns, a chunk at once."""
        for number in range(len(self._batches)):
            yield self._table(number)
        yield self._in_memory()

    def __len__(self) -> int:
        in_memory = int(self._recent.num_rows) + len(self._appended)
        return len(self._batches) * self._chunk + in_memory

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaptionList) or len(self) != len(other):
            return False
        return all(map(eq, self, other))

    def __iter__(self) -> Iterator[Caption]:
        for number in range(len(self._batches) + 1):
            yield from self._read(number)

    @overload
    def __getitem__(self, index: int) -> Caption: ...

    @overload
    def __getitem__(self, index: slice) -> list[Caption]: ...

    def __getitem__(self, index: int | slice) -> Caption | list[Caption]:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            batches = groupby(places, lambda place: place // self._chunk)
            return [
                captions[place % self._chunk]
                for number, here in batches
                for captions in [self._read(number)]
                for place in here
            ]
        if not -len(self) <= index < len(self):
            raise IndexError(f"caption {index} of {len(self)}")
        number, place = divmod(index % len(self), self._chunk)
        return self._read(number)[place]

    def _spill(self) -> None:
        """Writes whole chunks, so that one at most stays in memory."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="reelvec-captions-")  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        rest = self._in_memory()
        while rest.num_rows > self._chunk:
            (batch,) = rest.slice(0, self._chunk).combine_chunks().to_batches()
            data = batch.serialize()
            self._batches.append((self._file.seek(0, os.SEEK_END), data.size))
            self._file.write(data)
            rest = rest.slice(self._chunk)
        self._file.flush()
        self._recent, self._appended = rest.combine_chunks(), []

    def _in_memory(self) -> pa.Table:
        if not self._appended:
            return self._recent
        appended = records_to_table(self._appended, schema=CAPTION_SCHEMA)
        return pa.concat_tables([self._recent, appended])

    def _read(self, number: int) -> list[Caption]:
        if number < len(self._batches):
            return records_from_table(self._table(number), record=Caption)
        return records_from_table(self._recent, record=Caption) + self._appended

    def _table(self, number: int) -> pa.Table:
        if self._file is None:
            raise IndexError(f"batch {number} was never written")
        offset, size = self._batches[number]
        data = os.pread(self._file.fileno(), size, offset)
        batch = pa.ipc.read_record_batch(pa.py_buffer(data), CAPTION_SCHEMA)
        return pa.Table.from_batches([batch])


def caption_tables(captions: Sequence[Caption], *, rows: int) -> Iterator[pa.Table]:
    """Captions as columns, some at once.

    Args:
        captions: a list of columns gives its own.
        rows: of others, made into columns at once.
    """
    if isinstance(captions, CaptionList):
        yield from captions.tables()
        return
    records = iter(captions)
    while some := list(islice(records, rows)):
        yield records_to_table(some, schema=CAPTION_SCHEMA)


class CaptionStretch(Sequence[Caption]):
    """Captions ``start`` to ``stop`` of a list, read anew whenever they are asked for.

    Pickled by value: another process has no such file.
    """

    def __init__(self, captions: Sequence[Caption], start: int, stop: int) -> None:
        self._captions = captions
        self._start = start
        self._stop = min(stop, len(captions))

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[Caption]:
        return iter(self._captions[self._start : self._stop])

    @overload
    def __getitem__(self, index: int) -> Caption: ...

    @overload
    def __getitem__(self, index: slice) -> list[Caption]: ...

    def __getitem__(self, index: int | slice) -> Caption | list[Caption]:
        return list(self)[index]

    def __reduce__(self) -> tuple[type[tuple[Caption, ...]], tuple[list[Caption]]]:
        return tuple, (list(self),)
