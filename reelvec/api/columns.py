"""Which columns of vectors a run can be searched by."""

from __future__ import annotations

import pyarrow.parquet as pq

from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING, HEARD
from reelvec.storage.commits.artifact import Snapshot

__all__ = ["check_column", "check_seen"]


def check_column(embeddings: Snapshot, column: str, *, approximate: bool) -> None:
    """Refuse what cannot be searched by.

    Raises:
        RequestError: says what can.
    """
    if column == EMBEDDING:
        return
    parts = embeddings.parts("videos")[:1]
    there = [name for part in parts for name in pq.read_schema(part.path).names if name in HEARD]
    if column not in there:
        names = ", ".join([EMBEDDING, *there])
        remedy = "" if there else "; a run whose model hears (model.options.hears) has audio too"
        raise RequestError(f"the run has no column ({column}) to search by, only {names}{remedy}")
    if approximate:
        raise RequestError(f"the column ({column}) has no index; its searches are exact")


def check_seen(column: str) -> None:
    """Refuse to look for a file by what only videos of the run have.

    Raises:
        RequestError: the column is of sound.
    """
    if column != EMBEDDING:
        raise RequestError(
            f"a file is compared by its pictures alone, not by its {column}; leave out the column"
        )
