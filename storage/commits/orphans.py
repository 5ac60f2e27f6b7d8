"""Receipts that no snapshot has settled yet: what a run that was interrupted left behind."""

from __future__ import annotations

from reelvec.storage import layout
from reelvec.storage.commits.receipts import COMPACTED, Receipt, check_receipt, read_receipt
from reelvec.storage.commits.retention import removals_after
from reelvec.storage.commits.views import ReadableArtifact
from reelvec.storage.errors import CommitError, IntegrityError, MissingArtifactError

__all__ = ["find_orphans"]


def find_orphans(artifact: ReadableArtifact, *, verify: bool, begins: str) -> list[Receipt]:
    """See `Artifact.orphan_receipts`."""
    root, folder, base = artifact.root, artifact.folder, artifact.latest()
    parts = {entry.part for entry in base.entries} | base.settled if base else frozenset()
    known = {layout.receipt_of(part) for part in parts}
    for removal in removals_after(root, folder, number=base.removals if base else 0):
        known |= removal.files
    orphans = []
    for name in root.list(f"{folder}/receipts"):
        path = f"receipts/{name}"
        if path in known or not name.startswith(begins):
            continue
        try:
            receipt = read_receipt(root, folder, path)
            check_receipt(receipt)
            if COMPACTED in receipt.extra:
                continue
            if verify:
                artifact.verified_path(receipt.part, size=receipt.bytes, checksum=receipt.checksum)
        except (IntegrityError, MissingArtifactError, CommitError):
            continue
        orphans.append(receipt)
    return orphans
