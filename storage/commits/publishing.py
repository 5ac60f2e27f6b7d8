"""How a snapshot is published: create-only, rebased on a lost race, checked against gc."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.layers import Layer, arranged, write_layers
from reelvec.storage.commits.merging import Change, Entry, Merged, merge
from reelvec.storage.commits.receipts import Receipt, check_receipt
from reelvec.storage.commits.retention import Removal, removals_after, retire_snapshot
from reelvec.storage.commits.views import ReadableArtifact, Snapshot
from reelvec.storage.errors import CommitError, IntegrityError, MissingArtifactError
from reelvec.storage.sealing import seal
from reelvec.storage.store_format import WITH_LAYERS, stamp_format

__all__ = ["publish_change"]


def publish_change(artifact: ReadableArtifact, change: Change, *, note: str) -> Snapshot:
    """Applies `change` to the latest snapshot, again and again until nobody was faster.

    Raises:
        CommitError: counts do not reconcile, or a part to be added is gone.
        StoreError: the store cannot be written; nothing is published.
    """
    for receipt in change.add:
        check_receipt(receipt)
        artifact.keys.learn(receipt.part, receipt.keys)
    stamp_format(artifact.root)
    while True:
        base = artifact.latest()
        number = base.number + 1 if base else 1
        removals = _removals_since(artifact, base)
        if any(number in removal.snapshots for removal in removals):
            continue  # others are far ahead already
        merged = _merged(artifact, base, change, removals=removals)
        if base and merged.entries == base.entries and merged.settled <= base.settled:
            return base
        if base:  # no later number may outlast it
            artifact.root.sync(layout.snapshot(artifact.folder, base.number))
        body = _body(number, base, merged, removals=removals) | {"note": note}
        body |= _laid_out(artifact, base, merged, collected=_files(removals))
        try:
            artifact.root.put_new(layout.snapshot(artifact.folder, number), seal(body))
        except FileExistsError:
            continue  # the race is lost: apply the change to the winner's snapshot
        snapshot = Snapshot(artifact, body)
        removals = _removals_since(artifact, base)
        if any(number in removal.snapshots for removal in removals):
            continue  # written into a hole that gc left: nobody takes it for the latest
        _withdraw_collected(artifact, change, snapshot, removals=removals)
        return snapshot


def _removals_since(artifact: ReadableArtifact, base: Snapshot | None) -> list[Removal]:
    return removals_after(artifact.root, artifact.folder, number=base.removals if base else 0)


def _merged(
    artifact: ReadableArtifact,
    base: Snapshot | None,
    change: Change,
    *,
    removals: Sequence[Removal],
) -> Merged:
    entries: tuple[Entry, ...] = base.entries if base else ()
    settled: frozenset[str] = base.settled if base else frozenset()
    known = {entry.part for entry in entries} | settled
    collected = _files(removals)
    added = [receipt for receipt in change.add if receipt.part not in known]
    _check_all_present(artifact, added, collected=collected)
    return merge(
        entries,
        change,
        settled=settled,
        receipt_of=lambda entry: artifact.receipt(layout.receipt_of(entry.part)),
        holding=artifact.keys.holding,
    )


def _body(
    number: int, base: Snapshot | None, merged: Merged, *, removals: Sequence[Removal]
) -> dict[str, Any]:
    seen = base.removals if base else 0
    gone: set[str] = set()
    for removal in removals:
        if not removal.done:
            break
        seen = removal.number
        gone |= removal.files
    return {
        "number": number,
        "parent": base.number if base else 0,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settled": sorted(merged.settled - gone),  # what is deleted for good may be forgotten
        "removals": seen,
    }


def _laid_out(
    artifact: ReadableArtifact, base: Snapshot | None, merged: Merged, *, collected: set[str]
) -> dict[str, Any]:
    """The entries as they are written, and the layers that the next snapshot may use."""
    root, folder = artifact.root, artifact.folder
    items = arranged(merged.entries, _usable_layers(base, collected=collected) if base else ())
    prepared = write_layers(root, folder, items)
    artifact.layers.keep([*(item for item in items if isinstance(item, Layer)), *prepared])
    body: dict[str, Any] = {"entries": [item.to_json() for item in items]}
    if prepared or len(items) < len(merged.entries):
        stamp_format(root, WITH_LAYERS)
        body["prepared"] = {layer.path: layer.seal for layer in prepared}
    return body


def _usable_layers(base: Snapshot, *, collected: set[str]) -> Iterator[Layer]:
    """Those of the snapshot before: gc has spared them since it named them, or listed them."""
    yield from base.layers
    for path, promised in base.prepared.items():
        if path not in collected:
            with suppress(MissingArtifactError, IntegrityError):  # then its entries are written out
                yield base.artifact.layers.get(path, promised=promised)


def _check_all_present(
    artifact: ReadableArtifact, receipts: Sequence[Receipt], *, collected: Collection[str]
) -> None:
    """Each is two requests: twenty thousand, one by one, would be a quarter of an hour."""
    check = partial(_check_present, artifact, collected=collected)
    for _ in at_once(artifact.root, check, receipts):
        pass


def _check_present(
    artifact: ReadableArtifact, receipt: Receipt, *, collected: Collection[str]
) -> None:
    root, folder = artifact.root, artifact.folder
    there = {receipt.part, receipt.path}.isdisjoint(collected)
    there = there and root.exists(f"{folder}/{receipt.path}")
    size = -1
    with suppress(MissingArtifactError):
        size = root.size(f"{folder}/{receipt.part}") if there else -1
    if size != receipt.bytes:
        raise CommitError(
            f"part {receipt.part} cannot be published: it or its receipt is gone or changed (gc "
            f"collects what stays unpublished for long); redo shard {receipt.shard}",
            path=receipt.part,
        )


def _withdraw_collected(
    artifact: ReadableArtifact, change: Change, snapshot: Snapshot, *, removals: Sequence[Removal]
) -> None:
    """Takes back what gc decided to delete between our look and our publication."""
    files = _files(removals)
    ours = {r.part for r in change.add if r.part in files or r.path in files}
    lost = ours & {entry.part for entry in snapshot.entries}
    if not lost:
        return
    note = f"withdrawn: collected by gc while snapshot {snapshot.number} was published"
    latest = publish_change(artifact, Change(replace=frozenset(lost)), note=note).number
    retire_snapshot(artifact.root, artifact.folder, number=snapshot.number, latest=latest)
    raise CommitError(
        f"gc collected {len(lost)} parts (first {min(lost)}) while they were published; they are "
        "withdrawn: redo their shards",
        path=min(lost),
    )


def _files(removals: Sequence[Removal]) -> set[str]:
    return {path for removal in removals for path in removal.files}
