"""Clips of remote Arrow shards by byte range: some at once, ahead of who reads, in bounded memory.

A clip is a record batch, one range of its file, and is checked by the key it holds. The checksum of
a whole part is not checked here, as the part is not read: `reelvec verify` does that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from reelvec.storage.commits.views import PartRef, lost
from reelvec.storage.errors import IntegrityError
from reelvec.storage.frames.batches import TAIL_BYTES, Block, batch_of, blocks_of
from reelvec.storage.frames.contract import FrameShardReader
from reelvec.storage.frames.formats import format_of, open_clip
from reelvec.storage.reasons import Status

__all__ = ["AT_ONCE", "RowReader", "can_read_rows"]

AT_ONCE = 64
"""Requests on their way: with 20 ms of latency 3,200 clips a second, more than a disk gives."""
_HEAD_BYTES = 1 << 16

Row = tuple[int, str]
"""Number of a part, and the key of a clip in it."""


def can_read_rows(parts: Sequence[PartRef]) -> bool:
    """Whether clips of these parts can be read alone."""
    return all(format_of(Path(part.part)) == "arrow" for part in parts)


class RowReader:
    """Clips of these parts, each fetched alone.

    Args:
        parts: of one artifact, in a root that is read by range.
        limit_bytes: of clips in memory; what is asked for is there whatever it is.
    """

    def __init__(self, parts: Sequence[PartRef], *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        schema = _Schema()
        self._parts = [_Part(part, schema) for part in parts]
        self._held: dict[Row, _Held] = {}
        self._used: OrderedDict[Row, None] = OrderedDict()
        """Of these, which nobody waits for: read longest ago first."""
        self._next: deque[Row] = deque()
        self._bytes = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reelvec-rows")

    def ahead(self, rows: Sequence[Row]) -> None:
        """Says which are read next, these alone, and begins to fetch them.

        Those that have no room yet are begun as soon as others were read.
        """
        wanted = set(rows)
        self._used = OrderedDict(
            (row, None) for row in (*self._used, *self._held) if row not in wanted
        )
        self._next = deque(rows)
        self._begin_next()

    def fetch(self, rows: Sequence[Row]) -> None:
        """Begins to fetch these, in their order, as far as there is room beside what is due."""
        told = set(self._next)
        for row in rows:
            self._used.pop(row, None)
        self._next.extendleft(row for row in reversed(rows) if row not in told)
        self._begin_next()

    def clip(self, row: Row, *, again: bool = False) -> FrameShardReader:
        """A shard that holds this clip alone.

        Args:
            row: the clip.
            again: it is read once more soon, so it stays.

        Raises:
            IntegrityError: another clip is where this one should be, or none.
            StoreError: the store does not give it.
        """
        if row not in self._held:
            with suppress(ValueError):
                self._next.remove(row)
            self._begin(row, within=False)
        held = self._held[row]
        try:
            shard, size = held.fetched.result()
        except BaseException:
            self._drop(row)
            raise
        self._bytes += size - held.bytes
        held.bytes = size
        self._used.pop(row, None)
        if not again:
            self._used[row] = None
        self._begin_next()
        return shard

    def close(self) -> None:
        """Ends what is being fetched, and forgets the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._held.clear()
        self._used.clear()
        self._next.clear()

    def _begin_next(self) -> None:
        """Begins to fetch what was said to be next, as far as there is room."""
        while self._next:
            row = self._next[0]
            if row not in self._held and not self._begin(row, within=True):
                return
            self._next.popleft()

    def _begin(self, row: Row, *, within: bool) -> bool:
        """Begins to fetch a clip after room was made for it; False: there is none, all are due."""
        part = self._parts[row[0]]
        while self._bytes + part.bytes_a_clip > self._limit:
            came = (old for old in self._used if self._held[old].fetched.done())
            oldest = next(came, None)
            if oldest is None:
                break
            self._drop(oldest)
        if within and self._bytes + part.bytes_a_clip > self._limit:
            return False
        self._held[row] = _Held(self._threads.submit(part.clip, row[1]), part.bytes_a_clip)
        self._bytes += part.bytes_a_clip
        return True

    def _drop(self, row: Row) -> None:
        self._bytes -= self._held.pop(row).bytes
        self._used.pop(row, None)


@dataclass(slots=True)
class _Held:
    """A clip in memory, or on its way."""

    fetched: Future[tuple[FrameShardReader, int]]
    bytes: int
    """As its part's clips are on the mean; once it was read its own."""


class _Schema:
    """The schema that all parts share, read from one of them."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._found: pa.Schema | None = None

    def of(self, part: _Part) -> pa.Schema:
        with self._reading:
            if self._found is None:
                head = part.read(0, min(_HEAD_BYTES, part.bytes))
                # behind the magic and its padding
                self._found = pa.ipc.read_schema(head.slice(8))
            return self._found


class _Part:
    """Where the clips of a part lie, read when the first is asked for; used by several threads."""

    def __init__(self, ref: PartRef, schema: _Schema) -> None:
        self._ref = ref
        self._schema = schema
        self._path = f"{ref.artifact.folder}/{ref.part}"
        self._reading = threading.Lock()
        self._blocks: dict[str, Block] | None = None
        self.bytes = ref.entry.bytes
        self.bytes_a_clip = ref.entry.bytes // max(1, ref.entry.rows)

    def clip(self, key: str) -> tuple[FrameShardReader, int]:
        """The shard of one clip, and its bytes."""
        with self._reading:
            if self._blocks is None:
                self._blocks = self._find_blocks()
            block = self._blocks.get(key)
        if block is None:
            raise IntegrityError(f"{self._path} holds no clip {key}", path=self._path)
        data = self.read(block.start, block.stop)
        batch = batch_of(data, schema=self._schema.of(self), name=self._path)
        found = batch.column("clip_key")[0].as_py()
        if found != key:
            raise IntegrityError(
                f"{self._path} holds clip {found} where its receipt says {key}; `reelvec verify`"
                " names what must be redone",
                path=self._path,
            )
        return open_clip(batch), data.size

    def _find_blocks(self) -> dict[str, Block]:
        """By key: clips lie in the order of the receipt."""
        tail = self.read(max(0, self.bytes - TAIL_BYTES), self.bytes).to_pybytes()
        blocks, needed = blocks_of(tail, name=self._path)
        if needed > len(tail):
            tail = self.read(self.bytes - needed, self.bytes).to_pybytes()
            blocks, _ = blocks_of(tail, name=self._path)
        outcomes = self._ref.receipt.outcomes
        keys = [row.key for row in outcomes if row.status != Status.QUARANTINED]
        if len(keys) != len(blocks):
            raise IntegrityError(
                f"{self._path} holds {len(blocks)} clips, its receipt says {len(keys)}; `reelvec"
                " verify` names what must be redone",
                path=self._path,
            )
        return dict(zip(keys, blocks, strict=True))

    def read(self, start: int, stop: int) -> pa.Buffer:
        """Bytes [start, stop) of its file.

        Raises:
            IntegrityError: it has fewer.
        """
        data = pa.allocate_buffer(stop - start)
        with lost(self._ref.artifact, self._ref.part):
            root, out = self._ref.artifact.root, memoryview(data).cast("B")
            came = root.read_into(self._path, start=start, out=out)
        if came != stop - start:
            raise IntegrityError(
                f"{self._path} has fewer bytes than its receipt promises: {came} of"
                f" {stop - start} came; `reelvec verify` names what must be redone",
                path=self._path,
            )
        return data
