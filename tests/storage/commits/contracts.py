"""Tools of the storage tests: small parts, rows in force, a machine that dies on command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.configs.schema import CompactionConfig
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import Receipt
from reelvec.storage.places import local
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome
from reelvec.storage.tables import write_table
from reelvec.storage.upkeep.compaction import EVERYTHING

TABLE = "rows"
Row = tuple[str, int | None]  # status, value (None where quarantined)


def write_part(
    artifact: Artifact, rows: Mapping[str, Row], *, shard: str = "00000", table: str = TABLE
) -> Receipt:
    """A Parquet part with one row a usable input, and its receipt."""
    usable = [key for key, (status, _) in rows.items() if status != Status.QUARANTINED]
    data = pa.table(
        {"key": pa.array(usable, pa.string()), "value": pa.array([rows[k][1] for k in usable])}
        if usable
        else {"key": pa.array([], pa.string()), "value": pa.array([], pa.int64())}
    )
    with artifact.new_part(table=table, shard=shard, suffix=".parquet") as part:
        write_table(part.path, data, metadata={})
        return part.commit(
            rows=len(usable),
            schema="key, value",
            outcomes=[Outcome(key, status=status) for key, (status, _) in rows.items()],
        )


def ok(*keys: str, value: int = 0) -> dict[str, Row]:
    return dict.fromkeys(keys, ("ok", value))


def rows_in_force(snapshot: Snapshot | None, *, table: str = TABLE) -> dict[str, Row]:
    """What a reader sees, by the obvious way: every part, every row, less the dropped keys.

    Fails when a key is in force twice.
    """
    found: dict[str, Row] = {}
    for part in snapshot.parts(table) if snapshot else []:
        data = pq.read_table(part.path).to_pydict()
        values = dict(zip(data["key"], data["value"], strict=True))
        for row in part.receipt.outcomes:
            if row.key not in part.dropped:
                assert row.key not in found, f"{row.key} is in force twice"
                found[row.key] = (row.status, values.get(row.key))
    return found


def up_to(target: int) -> CompactionConfig:
    """Parts below so many bytes become parts of so many bytes."""
    return EVERYTHING.model_copy(update={"small_mb": target / 2**20, "target_mb": target / 2**20})


class Crash(BaseException):
    """The power is gone."""


class Machine:
    """Counts the points at which it could die, and dies at the one it was told."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.dead = False
        self.crashed = False
        self.points = 0

    def tick(self) -> None:
        if self.dead:
            raise Crash
        self.points += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead = True
                raise Crash

    @contextmanager
    def dies_after(self, points: int | None) -> Iterator[None]:
        """Runs the block on this machine; a crash ends it, and the machine is new afterwards."""
        self.left, self.dead = points, False
        with (
            mock.patch.object(local, "os", _System(self)),
            mock.patch.object(local, "_discard", self._discard),
        ):
            try:
                yield
            except Crash:
                if not self.dead:
                    raise
            finally:
                self.crashed, self.left, self.dead = self.dead, None, False

    def _discard(self, scratch: Path) -> None:
        if not self.dead:  # nobody tidies up after a kill
            scratch.unlink(missing_ok=True)


class _System:
    """The os module, dying before and after each fsync and link."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        self._machine.tick()

    def link(self, source: Path, target: Path) -> None:
        self._machine.tick()
        os.link(source, target)
        self._machine.tick()


class FragileRoot(LocalRoot):
    """A root on a machine that may die before and after each verb, and in the middle of deletes.

    `before_snapshot` is called once, just before the next snapshot is published: the moment for
    somebody else to be faster.
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        super().__init__(folder)
        self.machine = machine
        self.before_snapshot: Callable[[], None] | None = None

    def put_new(self, path: str, data: bytes) -> None:
        if self.before_snapshot and "/snapshots/" in path:
            hook, self.before_snapshot = self.before_snapshot, None
            hook()
        self.machine.tick()
        super().put_new(path, data)
        self.machine.tick()

    def put_file(self, path: str, file: Path) -> None:
        self.machine.tick()
        super().put_file(path, file)
        self.machine.tick()

    def delete(self, *paths: str) -> None:
        for path in paths:
            self.machine.tick()
            super().delete(path)


def flip_bit(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def keys_of(receipts: Sequence[Receipt]) -> set[str]:
    return {key for receipt in receipts for key in receipt.keys}
