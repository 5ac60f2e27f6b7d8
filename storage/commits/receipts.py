"""Receipts: what a worker writes beside a part to say what is in it.

The part is durable before its receipt exists, so a receipt is a promise that can be kept: rows,
bytes, checksum, and every planned input with its outcome.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.columns import pack, unpack
from reelvec.storage.errors import CommitError, StoreError
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome
from reelvec.storage.roots import Root
from reelvec.storage.sealing import checksum_of_bytes, checksum_of_file, seal, unseal

__all__ = [
    "COMPACTED",
    "Counts",
    "PartWriter",
    "Receipt",
    "Value",
    "check_receipt",
    "ledger_columns",
    "read_receipt",
]

Value = str | int | float

COMPACTED = "compacted"
"""In `Receipt.extra` of a compacted part: how many parts it was made from. It is no new work, so
a compaction that was killed before it published is never adopted."""

_FIELDS = tuple(field.name for field in dataclasses.fields(Outcome))
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Outcome)}


@dataclass(frozen=True, slots=True)
class Counts:
    """How many inputs were planned, and what became of them."""

    planned: int = 0
    ok: int = 0
    salvaged: int = 0
    quarantined: int = 0

    @property
    def reconciled(self) -> bool:
        """Whether every planned input has one of the three outcomes."""
        return self.planned == self.ok + self.salvaged + self.quarantined

    @property
    def usable(self) -> int:
        return self.ok + self.salvaged

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.planned + other.planned,
            self.ok + other.ok,
            self.salvaged + other.salvaged,
            self.quarantined + other.quarantined,
        )

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Counts:
        """Counts of ledger rows; a status that is none of the three only counts as planned."""
        seen = Counter(str(row.status) for row in outcomes)
        return cls(seen.total(), seen[Status.OK], seen[Status.SALVAGED], seen[Status.QUARANTINED])


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is in one immutable part.

    `part` is its path below the artifact's folder, `checksum` the xxh3-128 of its bytes, `seal`
    the xxh3-128 of the receipt file itself.
    """

    part: str
    table: str
    shard: str
    rows: int
    bytes: int
    checksum: str
    schema: str = ""
    outcomes: tuple[Outcome, ...] = ()
    extra: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    seal: str = ""

    @property
    def counts(self) -> Counts:
        return Counts.of(self.outcomes)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(row.key for row in self.outcomes)

    @property
    def path(self) -> str:
        """The receipt file's path below the artifact's folder."""
        return layout.receipt_of(self.part)

    def rows_without(self, dropped: Collection[str]) -> int:
        """Rows left when the rows of these keys are ignored.

        A part holds one row an input, or one a usable input (quarantined ones left out), or is
        no table of outcomes at all.
        """
        if not dropped or not self.outcomes:
            return self.rows
        gone = [row for row in self.outcomes if row.key in dropped]
        if self.rows == len(self.outcomes):
            return self.rows - len(gone)
        return self.rows - Counts.of(gone).usable


def check_receipt(receipt: Receipt) -> None:
    """Refuses a receipt whose numbers do not reconcile.

    Raises:
        CommitError: a status that is no outcome, a key twice, or rows that fit no count.
    """
    counts = receipt.counts
    if not counts.reconciled:
        strange = sorted({str(row.status) for row in receipt.outcomes} - set(Status))
        raise CommitError(
            f"part {receipt.part}: planned {counts.planned} inputs, but ok {counts.ok} + salvaged "
            f"{counts.salvaged} + quarantined {counts.quarantined} is not that many (status "
            f"{', '.join(map(repr, strange))}); every input must have one of the three outcomes",
            path=receipt.part,
        )
    if len(set(receipt.keys)) != counts.planned:
        twice = [key for key, count in Counter(receipt.keys).items() if count > 1]
        raise CommitError(
            f"part {receipt.part} lists {twice[0]!r} twice ({len(twice)} such keys); an input has "
            "one outcome a part",
            path=receipt.part,
        )
    if receipt.outcomes and receipt.rows not in (counts.planned, counts.usable):
        raise CommitError(
            f"part {receipt.part} holds {receipt.rows} rows for {counts.planned} inputs of which "
            f"{counts.usable} are usable; rows must be one of these two numbers",
            path=receipt.part,
        )


def write_receipt(root: Root, folder: str, receipt: Receipt) -> Receipt:
    """Publishes the receipt file; returns the receipt with its seal."""
    columns: dict[str, list[Any]] = {}
    for name in _FIELDS:  # columns, and none that says nothing: ledgers are long
        values = [getattr(row, name) for row in receipt.outcomes]
        if name == "key" or any(value != _DEFAULTS[name] for value in values):
            columns[name] = values
    body = {
        "part": receipt.part,
        "table": receipt.table,
        "shard": receipt.shard,
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "checksum": receipt.checksum,
        "schema": receipt.schema,
        "extra": dict(receipt.extra),
        "inputs": pack(columns),
    }
    data = seal(body)
    root.put_new(f"{folder}/{receipt.path}", data)
    return dataclasses.replace(receipt, seal=checksum_of_bytes(data))


def read_receipt(root: Root, folder: str, path: str) -> Receipt:
    """The receipt at `path` below the artifact's folder.

    Raises:
        MissingArtifactError: it is not there.
        IntegrityError: its bytes are not what was written.
    """
    body, columns, seal_of_file = _read(root, folder, path)
    rows = zip(*(columns[name] for name in _FIELDS), strict=True)
    return Receipt(**body, outcomes=tuple(Outcome(*row) for row in rows), seal=seal_of_file)


def ledger_columns(root: Root, folder: str, path: str) -> tuple[dict[str, list[Any]], str]:
    """The outcomes of the receipt at `path` as columns by field, and the receipt's seal.

    Raises:
        MissingArtifactError: it is not there.
        IntegrityError: its bytes are not what was written.
    """
    _, columns, seal_of_file = _read(root, folder, path)
    return columns, seal_of_file


def _read(root: Root, folder: str, path: str) -> tuple[dict[str, Any], dict[str, list[Any]], str]:
    data = root.read(f"{folder}/{path}")
    body = unseal(data, path=f"{folder}/{path}")
    written = unpack(body.pop("inputs"))
    count = len(written["key"])
    columns = {name: written.get(name) or [_DEFAULTS[name]] * count for name in _FIELDS}
    return body, columns, checksum_of_bytes(data)


class PartWriter:
    """A part in the making: write `path`, then `commit` once."""

    def __init__(self, root: Root, folder: str, *, part: str, table: str, shard: str) -> None:
        self.path = root.new_scratch(Path(part).suffix)
        self._root = root
        self._folder = folder
        self._part = part
        self._table = table
        self._shard = shard
        self._done = False

    def commit(
        self,
        *,
        rows: int,
        schema: str = "",
        outcomes: Sequence[Outcome] = (),
        extra: Mapping[str, Value] | None = None,
    ) -> Receipt:
        """Makes the part durable, then its receipt; from here a kill loses nothing of it.

        Raises:
            CommitError: the numbers do not reconcile; nothing is published.
            StoreError: the file was not written, or the store cannot take it.
        """
        if self._done:
            raise StoreError(f"part {self._part} is committed already", path=self._part)
        if not self.path.is_file():
            raise StoreError(
                f"part {self._part}: nothing was written to {self.path} before commit",
                path=str(self.path),
            )
        receipt = Receipt(
            part=self._part[len(self._folder) + 1 :],
            table=self._table,
            shard=self._shard,
            rows=int(rows),
            bytes=self.path.stat().st_size,
            checksum=checksum_of_file(self.path),
            schema=schema,
            outcomes=tuple(outcomes),
            extra=dict(extra or {}),
        )
        check_receipt(receipt)
        self._root.put_file(self._part, self.path)
        receipt = write_receipt(self._root, self._folder, receipt)
        self._done = True
        return receipt
