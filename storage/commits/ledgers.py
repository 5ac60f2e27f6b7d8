"""Ledger rows of a snapshot as columns, one receipt at a time: for ledgers of millions of rows.

A small ledger's receipts are kept by its artifact, so that a run reads each once; a large one's are
read again each time and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.receipts import ledger_columns
from reelvec.storage.commits.views import PartRef, Snapshot, lost
from reelvec.storage.errors import IntegrityError
from reelvec.storage.records import Outcome

__all__ = ["is_small", "iter_ledger", "part_ledger"]

_KEPT_ROWS = 50_000  # about 10 MB
_FIELDS = tuple(field.name for field in fields(Outcome))


def iter_ledger(snapshot: Snapshot | None, table: str) -> Iterator[dict[str, list[Any]]]:
    """Columns by `Outcome` field of the rows in force, part by part, as `Snapshot.outcomes` lists.

    Raises:
        IntegrityError: a receipt is not the one that was published.
    """
    if snapshot is None:
        return
    small = is_small(snapshot, table)
    for part in snapshot.parts(table):
        yield part_ledger(part, kept=small)


def is_small(snapshot: Snapshot, table: str) -> bool:
    """Whether receipts of the table are kept by their artifact once they are read."""
    return snapshot.counts(table).planned <= _KEPT_ROWS


def part_ledger(part: PartRef, *, kept: bool) -> dict[str, list[Any]]:
    """Columns by `Outcome` field of one part's rows in force.

    Args:
        part: of a snapshot.
        kept: its receipt is kept by the artifact.

    Raises:
        IntegrityError: the receipt is not the one that was published.
    """
    columns = _kept(part) if kept else _read(part)
    if part.dropped:
        rows = [i for i, key in enumerate(columns["key"]) if key not in part.dropped]
        columns = {name: [values[i] for i in rows] for name, values in columns.items()}
    return columns


def _kept(part: PartRef) -> dict[str, list[Any]]:
    outcomes = part.receipt.outcomes
    return {name: [getattr(row, name) for row in outcomes] for name in _FIELDS}


def _read(part: PartRef) -> dict[str, list[Any]]:
    path, artifact = layout.receipt_of(part.part), part.artifact
    with lost(artifact, path):
        columns, seal = ledger_columns(artifact.root, artifact.folder, path)
    if seal != part.entry.seal:
        raise IntegrityError(
            f"{artifact.folder}/{path} is not the receipt that was published", path=path
        )
    artifact.keys.learn(part.part, columns["key"])
    return columns
