"""Ledger rows of a snapshot as columns, one receipt at a time: for ledgers of millions of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.receipts import ledger_columns
from reelvec.storage.errors import IntegrityError

__all__ = ["iter_ledger"]


def iter_ledger(snapshot: Snapshot | None, table: str) -> Iterator[dict[str, list[Any]]]:
    """Columns by `Outcome` field of the rows in force, part by part, as `Snapshot.outcomes` lists.

    Raises:
        IntegrityError: a receipt is not the one that was published.
    """
    for part in snapshot.parts(table) if snapshot else []:
        path = layout.receipt_of(part.part)
        artifact = part.artifact
        columns, seal = ledger_columns(artifact.root, artifact.folder, path)
        if seal != part.entry.seal:
            raise IntegrityError(
                f"{artifact.folder}/{path} is not the receipt that was published", path=path
            )
        if part.dropped:
            kept = [i for i, key in enumerate(columns["key"]) if key not in part.dropped]
            columns = {name: [values[i] for i in kept] for name, values in columns.items()}
        yield columns
