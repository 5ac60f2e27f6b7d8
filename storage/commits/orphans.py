"""Receipts that no snapshot has settled yet: what a run that was interrupted left behind."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.receipts import COMPACTED, Receipt, check_receipt, read_receipt
from reelvec.storage.commits.retention import removals_after
from reelvec.storage.commits.views import ReadableArtifact
from reelvec.storage.errors import CommitError, IntegrityError, MissingArtifactError
from reelvec.storage.roots import Root

__all__ = ["find_orphans"]


def find_orphans(
    artifact: ReadableArtifact, *, verify: bool, shards: Collection[str] | None
) -> list[Receipt]:
    """See `Artifact.orphan_receipts`."""
    root, folder, base = artifact.root, artifact.folder, artifact.latest()
    parts = {entry.part for entry in base.entries} | base.settled if base else frozenset()
    known = {layout.receipt_of(part) for part in parts}
    for removal in removals_after(root, folder, number=base.removals if base else 0):
        known |= removal.files
    names = root.list(f"{folder}/receipts")
    if shards is not None:  # a receipt is called by its table and shard
        names = [name for name in names if name.rpartition("-")[0] in shards]
    paths = [path for path in (f"receipts/{name}" for name in names) if path not in known]
    found = at_once(root, partial(_whole_receipt, root, folder), paths)
    orphans = [receipt for receipt in found if receipt and COMPACTED not in receipt.extra]
    return [receipt for receipt in orphans if not verify or _has_part(artifact, receipt)]


def _whole_receipt(root: Root, folder: str, path: str) -> Receipt | None:
    try:
        receipt = read_receipt(root, folder, path)
        check_receipt(receipt)
    except (IntegrityError, MissingArtifactError, CommitError):
        return None
    return receipt


def _has_part(artifact: ReadableArtifact, receipt: Receipt) -> bool:
    try:
        artifact.verified_path(receipt.part, size=receipt.bytes, checksum=receipt.checksum)
    except (IntegrityError, MissingArtifactError, CommitError):
        return False
    return True
