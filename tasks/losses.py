"""What a publication would take away, and the bound beyond which it is refused.

Videos do not become unusable by the dozen over night: a mount is gone, a disk is failing, a key has
expired. Then the table in force is worth more than a true account of what can be read now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from reelvec.errors import ReelvecError
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.reasons import Reason, Status

__all__ = ["ALWAYS_ALLOWED", "TooMuchLostError", "check_losses"]

ALWAYS_ALLOWED = 2
"""So many rows may be lost whatever the fraction is, as long as others are left."""

GUARDED = ("corpus", "frames", "audio", "embeddings")
"""Artifacts whose tables have a row an input; an evaluation's are made anew each time."""

_NAMED = 5
"""Rows a message names."""


class TooMuchLostError(ReelvecError):
    """A publication would take away more rows that were usable than the run allows."""


def check_losses(
    before: Snapshot,
    *,
    add: Sequence[Receipt],
    supersede: Mapping[str, Collection[str]],
    limit: float,
) -> None:
    """Refuse a publication after which too many rows that were usable no longer are.

    A row that is replaced by a quarantined one is lost. One that is only taken out is not: the
    corpus no longer names it. But where a table's last rows are taken out, all of it is lost.

    Args:
        before: the snapshot in force.
        add: receipts of the new parts.
        supersede: keys to take out of force, by table.
        limit: largest part of a table's usable rows that may be lost; 1 allows any.

    Raises:
        TooMuchLostError: with how many and which, and the remedy.
    """
    if limit >= 1 or before.artifact.kind not in GUARDED:
        return
    for table, keys in supersede.items():
        usable = before.counts(table).usable
        lost = _lost(before, table, add=add, keys=frozenset(keys)) if keys and usable else {}
        few = len(lost) <= ALWAYS_ALLOWED and len(lost) < usable
        if few or len(lost) <= limit * usable:
            continue
        raise TooMuchLostError(
            f"{len(lost)} of {usable} {table} that were usable would be lost ({_reasons(lost)}):"
            f" {_names(lost)}. That is more than max_lost_fraction ({limit}) allows: nothing is"
            f" published, and the {before.artifact.kind} table in force stays. See whether the"
            " files are where they were (a mount?) and run again; if they are meant to be gone,"
            " --accept-losses (in a flow: accept_losses) publishes without them"
        )


def _lost(
    before: Snapshot, table: str, *, add: Sequence[Receipt], keys: frozenset[str]
) -> dict[str, str]:
    """Reason by key of the rows that were usable and would not be; "": the table is emptied."""
    new = [receipt for receipt in add if receipt.table == table]
    if not new and len(keys) >= before.counts(table).planned:
        return dict.fromkeys(_usable(before, table, keys=keys), "")
    failed = {
        row.key: row.reason
        for receipt in new
        for row in receipt.outcomes
        if row.status == Status.QUARANTINED and row.key in keys
    }
    if not failed:
        return {}
    return {key: failed[key] for key in _usable(before, table, keys=failed)}


def _usable(before: Snapshot, table: str, *, keys: Collection[str]) -> Iterator[str]:
    for columns in iter_ledger(before, table):
        for key, status in zip(columns["key"], columns["status"], strict=True):
            if key in keys and status != Status.QUARANTINED:
                yield key


def _reasons(lost: Mapping[str, str]) -> str:
    """As in: 3 missing, 1 empty."""
    counted = Counter(Reason(reason).value for reason in lost.values())
    return ", ".join(
        f"{count} {reason}" if reason else "the corpus names none any more"
        for reason, count in counted.most_common()
    )


def _names(lost: Mapping[str, str]) -> str:
    names = sorted(lost)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
