"""The contents of the next snapshot: pure functions from entries and changes to entries.

An entry is one part in force, with the keys of it that are not. Because `merge` is a function of
the base snapshot, a writer that lost the race simply applies it again to the winner's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reelvec.storage.commits.receipts import Counts, Receipt
from reelvec.storage.errors import CommitError

__all__ = ["Change", "Entry", "Merged", "merge"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One part in force: its receipt's facts, less the dropped keys.

    `rows` and `counts` are those in force; `bytes` and `checksum` the whole part's; `seal` is the
    checksum of the receipt file.
    """

    part: str
    table: str
    shard: str
    rows: int
    bytes: int
    checksum: str
    seal: str
    counts: Counts
    dropped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, receipt: Receipt, *, dropped: Collection[str] = ()) -> Entry:
        gone = frozenset(dropped)
        return cls(
            part=receipt.part,
            table=receipt.table,
            shard=receipt.shard,
            rows=receipt.rows_without(gone),
            bytes=receipt.bytes,
            checksum=receipt.checksum,
            seal=receipt.seal,
            counts=Counts.of(row for row in receipt.outcomes if row.key not in gone),
            dropped=gone,
        )

    def to_json(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "part": self.part,
            "table": self.table,
            "shard": self.shard,
            "rows": self.rows,
            "bytes": self.bytes,
            "checksum": self.checksum,
            "seal": self.seal,
            "counts": [counts.planned, counts.ok, counts.salvaged, counts.quarantined],
            "dropped": sorted(self.dropped),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Entry:
        return cls(
            **{
                **body,
                "counts": Counts(*body["counts"]),
                "dropped": frozenset(body["dropped"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What a publisher wants: parts added, keys superseded, whole parts replaced.

    With `replace`, an added key is in force only if it was in force in a replaced part: a
    compaction can never bring back what somebody else superseded meanwhile.
    """

    add: tuple[Receipt, ...] = ()
    supersede: Mapping[str, frozenset[str]] = field(default_factory=dict)
    replace: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Merged:
    """The next snapshot's entries, and the parts that came to nothing in it."""

    entries: tuple[Entry, ...]
    settled: frozenset[str]


def _all_of(entries: Sequence[Entry], _: Collection[str]) -> Sequence[Entry]:
    return entries


def merge(
    base: Sequence[Entry],
    change: Change,
    *,
    settled: Collection[str] = (),
    receipt_of: Callable[[Entry], Receipt],
    holding: Callable[[Sequence[Entry], Collection[str]], Sequence[Entry]] = _all_of,
) -> Merged:
    """Applies a change to the entries in force.

    Parts that are in `base` or `settled` already are not added again. A part none of whose keys
    is in force leaves the entries and is settled: it is no orphan that could be adopted later.
    A part that replaces others stands where the first of them stood, so that rows keep their order.

    Args:
        base: entries of the snapshot published last, in its order.
        change: what to apply.
        settled: parts known before that are not in force and must not return.
        receipt_of: reads the receipt of an entry (called only where keys matter).
        holding: which entries may hold any of some keys; receipts of others are not read.

    Raises:
        CommitError: the counts afterwards are not those before, less what was dropped, plus what
            was added.
    """
    known = {entry.part for entry in base} | set(settled)
    offered = {receipt.part: receipt for receipt in change.add}
    add = [receipt for part, receipt in offered.items() if part not in known]
    allowed = _replaced_keys(base, change, receipt_of=receipt_of) if add else {}
    places = _places(base, change, add=add, receipt_of=receipt_of)
    touched = set(_holding(base, change.supersede, holding=holding))
    entries: list[Entry] = []
    for place, entry in enumerate(base):
        if entry.part in change.replace:
            continue
        places[entry.part] = place
        gone = change.supersede[entry.table] if entry in touched else frozenset()
        entries.append(_without(entry, gone, receipt_of=receipt_of) if gone else entry)
    near = _holding(entries, _keys_by_table(add), holding=holding)
    live = _live_keys(near, receipt_of=receipt_of)
    for receipt in add:
        taken = live.setdefault(receipt.table, set())
        keys = set(receipt.keys)
        dropped = keys & taken
        if change.replace:
            dropped |= keys - allowed.get(receipt.table, set())
        taken |= keys - dropped
        entries.append(Entry.of(receipt, dropped=dropped))
    entries.sort(key=lambda entry: places[entry.part])
    alive = tuple(entry for entry in entries if _in_force(entry))
    parts = {entry.part for entry in alive}
    dead = {entry.part for entry in base} | {receipt.part for receipt in add}
    merged = Merged(alive, frozenset(settled) | (dead - parts))
    _check_counts(merged.entries)
    return merged


def _in_force(entry: Entry) -> bool:
    """Parts that list no outcomes (a checkpoint) are in force until they are replaced."""
    return entry.counts.planned > 0 or not entry.dropped


def _without(
    entry: Entry, keys: frozenset[str], *, receipt_of: Callable[[Entry], Receipt]
) -> Entry:
    receipt = receipt_of(entry)
    more = keys.intersection(receipt.keys) - entry.dropped
    return Entry.of(receipt, dropped=entry.dropped | more) if more else entry


def _replaced_keys(
    base: Iterable[Entry], change: Change, *, receipt_of: Callable[[Entry], Receipt]
) -> dict[str, set[str]]:
    replaced = [entry for entry in base if entry.part in change.replace]
    live = _live_keys(replaced, receipt_of=receipt_of)
    return {table: keys - change.supersede.get(table, frozenset()) for table, keys in live.items()}


def _places(
    base: Sequence[Entry],
    change: Change,
    *,
    add: Sequence[Receipt],
    receipt_of: Callable[[Entry], Receipt],
) -> dict[str, int]:
    """Where each added part stands among the entries of `base`; the end is behind them all."""
    first: dict[tuple[str, str], int] = {}
    for place, entry in enumerate(base if add else ()):
        if entry.part in change.replace:
            for key in _keys(entry, receipt_of(entry)):
                first.setdefault((entry.table, key), place)
    end = len(base)
    return {
        receipt.part: min((first.get((receipt.table, k), end) for k in receipt.keys), default=end)
        for receipt in add
    }


def _keys_by_table(receipts: Iterable[Receipt]) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for receipt in receipts:
        keys.setdefault(receipt.table, set()).update(receipt.keys)
    return keys


def _holding(
    entries: Iterable[Entry],
    keys: Mapping[str, Collection[str]],
    *,
    holding: Callable[[Sequence[Entry], Collection[str]], Sequence[Entry]],
) -> list[Entry]:
    """Entries of the tables of `keys` that may hold any of these."""
    of_table: dict[str, list[Entry]] = {table: [] for table, some in keys.items() if some}
    for entry in entries:
        if entry.table in of_table:
            of_table[entry.table].append(entry)
    return [found for table, some in of_table.items() for found in holding(some, keys[table])]


def _live_keys(
    entries: Iterable[Entry], *, receipt_of: Callable[[Entry], Receipt]
) -> dict[str, set[str]]:
    live: dict[str, set[str]] = {}
    for entry in entries:
        live.setdefault(entry.table, set()).update(_keys(entry, receipt_of(entry)))
    return live


def _keys(entry: Entry, receipt: Receipt) -> Iterator[str]:
    return (key for key in receipt.keys if key not in entry.dropped)


def _check_counts(entries: Sequence[Entry]) -> None:
    total = sum((entry.counts for entry in entries), Counts())
    if not total.reconciled:
        raise CommitError(
            f"a snapshot of {len(entries)} parts was refused: planned {total.planned} is not ok "
            f"{total.ok} + salvaged {total.salvaged} + quarantined {total.quarantined}"
        )
