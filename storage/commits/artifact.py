"""The commit protocol: immutable parts, receipts, and numbered snapshots of what is in force.

1. A worker writes a part under a fresh unique name, then its receipt (`Artifact.new_part`).
2. The coordinator publishes snapshot n+1, created only if absent; a loser reads the winner's
   snapshot and applies its change to that one (`Artifact.publish`).
3. Readers pin a number and trust nothing else (`Snapshot`); parts are verified on first open.

`merging` is the pure part, `publishing` the loop around it, `layers` what snapshots share,
`retention` what gc and the others tell each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.keys import KeyIndex
from reelvec.storage.commits.layers import LayerCache
from reelvec.storage.commits.merging import Change
from reelvec.storage.commits.orphans import find_orphans
from reelvec.storage.commits.publishing import publish_change
from reelvec.storage.commits.receipts import PartWriter, Receipt, read_receipt
from reelvec.storage.commits.retention import last_removal, removals_after
from reelvec.storage.commits.verified import VerifiedParts
from reelvec.storage.commits.views import PartRef, Snapshot, lost
from reelvec.storage.errors import IdentityError, IntegrityError, MissingArtifactError
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import PLAIN, stamp_format

__all__ = ["Artifact", "PartRef", "PartWriter", "Receipt", "Snapshot"]

_CACHED_INPUTS = 500_000  # ledger rows of receipts kept in memory, about 100 MB


class Artifact:
    """Everything of one identity: its folder is named by the identity's fingerprint."""

    def __init__(self, root: Root, *, kind: str, fingerprint: str) -> None:
        self.root = root
        self.kind = kind
        self.fingerprint = fingerprint
        self.folder = layout.artifact(kind, fingerprint)
        self.reads_only = False  # then a plan may be made where nothing can or may be written
        self.keys = KeyIndex(root, self.folder)
        self.layers = LayerCache(root, self.folder)
        self._receipts: dict[str, Receipt] = {}
        self._cached_inputs = 0
        self._parts = VerifiedParts(root)

    def __reduce__(self) -> tuple[object, ...]:
        """Another process reads for itself what it needs."""
        return _found, (self.root, self.kind, self.fingerprint)

    @classmethod
    def open(cls, root: Root, *, kind: str, identity: Mapping[str, object]) -> Artifact:
        """The artifact of this identity; identity.json is written if it is not there.

        Raises:
            IntegrityError: identity.json is damaged.
            IdentityError: it holds another identity than its folder's name says.
            StoreError: the identity has no JSON spelling, or the store cannot be written.
        """
        fingerprint = layout.fingerprint(identity)
        try:
            return cls.find(root, kind=kind, fingerprint=fingerprint)
        except MissingArtifactError:
            path = layout.identity(layout.artifact(kind, fingerprint))
            stamp_format(root)
            root.sync(layout.store_format(PLAIN))  # of another first writer, killed perhaps
            with suppress(FileExistsError):  # another writer of the same identity was first
                root.put_new(path, seal(identity, indent=2))
            return cls.find(root, kind=kind, fingerprint=fingerprint)

    @classmethod
    def find(cls, root: Root, *, kind: str, fingerprint: str) -> Artifact:
        """The artifact with this fingerprint.

        Raises:
            MissingArtifactError: the store has none.
            IntegrityError: identity.json is damaged.
            IdentityError: it holds another identity than its folder's name says.
        """
        artifact = cls(root, kind=kind, fingerprint=fingerprint)
        path = layout.identity(artifact.folder)
        try:
            identity = artifact.identity
        except MissingArtifactError:
            have = ", ".join(root.list(kind)) or "none"
            said = f"no {kind} artifact {fingerprint} in {root.uri} (there: {have})"
            raise MissingArtifactError(said, path=artifact.folder) from None
        if layout.fingerprint(identity) != fingerprint:
            raise IdentityError(
                f"{path} holds {identity}, whose fingerprint is not its folder's name; "
                "remove that file, the next run writes it anew",
                path=path,
            )
        return artifact

    @classmethod
    def of(cls, snapshot: Snapshot) -> Artifact:
        """The artifact a snapshot belongs to, to write to it."""
        artifact = snapshot.artifact
        if isinstance(artifact, cls):
            return artifact
        return cls(artifact.root, kind=artifact.kind, fingerprint=artifact.fingerprint)

    @classmethod
    def all(cls, root: Root) -> list[Artifact]:
        """Every artifact of the store, by kind and fingerprint."""
        return [
            cls(root, kind=kind, fingerprint=name)
            for kind in layout.KINDS
            for name in root.list(kind)
            if layout.is_fingerprint(name)
        ]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The identity in clear (its JSON form: lists for tuples).

        Raises:
            MissingArtifactError, IntegrityError: it is gone or damaged.
        """
        path = layout.identity(self.folder)
        return unseal(self.root.read(path), path=path)

    def latest(self) -> Snapshot | None:
        """The snapshot published last; None before the first."""
        while number := self._last_number():
            try:
                with lost(self, layout.snapshot("", number)[1:]):
                    return self.at(number)
            except MissingArtifactError:
                if self._last_number() == number:
                    raise  # not retired meanwhile
        return None

    def at(self, number: int) -> Snapshot:
        """Snapshot `number`.

        Raises:
            MissingArtifactError: never published, or removed by gc.
            IntegrityError: its bytes are damaged.
        """
        path = layout.snapshot(self.folder, number)
        body = unseal(self.root.read(path), path=path)
        if body["number"] != number:
            raise IntegrityError(f"{path} holds snapshot {body['number']}", path=path)
        snapshot = Snapshot(self, body)
        self.layers.keep(snapshot.layers)
        return snapshot

    def numbers(self) -> list[int]:
        """Snapshots that are kept, oldest first."""
        removed = {
            number
            for removal in removals_after(self.root, self.folder, number=0)
            for number in removal.snapshots
            if removal.done or not self.root.exists(layout.snapshot(self.folder, number))
        }
        return [n for n in range(1, self._last_number() + 1) if n not in removed]

    @contextmanager
    def pinned(self, number: int | None = None) -> Iterator[Snapshot]:
        """A snapshot (the latest by default) that gc leaves alone while the block runs.

        Raises:
            MissingArtifactError: there is none, or gc has just removed it.
        """
        snapshot = self.at(number) if number is not None else self.latest()
        if snapshot is None:
            raise MissingArtifactError(
                f"{self.folder} has no snapshot yet; run the stage that makes it", path=self.folder
            )
        path = layout.pin(self.folder, snapshot.number)
        self.root.put_new(path, seal({"pinned": snapshot.number}))
        try:
            removals = removals_after(self.root, self.folder, number=snapshot.removals)
            if any(snapshot.number in removal.snapshots for removal in removals):
                raise MissingArtifactError(
                    f"gc removed snapshot {snapshot.number} of {self.folder} while it was "
                    "opened; open the latest one",
                    path=path,
                )
            yield snapshot
        finally:
            with suppress(OSError):  # it expires
                self.root.delete(path)

    @contextmanager
    def new_part(self, *, table: str, shard: str, suffix: str) -> Iterator[PartWriter]:
        """A part to write at `writer.path` and to `writer.commit(...)`; else it leaves no trace.

        Raises:
            StoreError: a name that could leave the folder, a full disk, a read-only store.
        """
        part = layout.new_part(self.folder, table=table, shard=shard, suffix=suffix)
        writer = PartWriter(self.root, self.folder, part=part, table=table, shard=shard)
        try:
            with explained("write", path=writer.path, only=WRITE_FAILURES):
                yield writer
        finally:
            with suppress(OSError):  # gc sweeps what a failing disk does not let go
                writer.path.unlink(missing_ok=True)

    def publish(
        self,
        *,
        add: Sequence[Receipt] = (),
        supersede: Mapping[str, Collection[str]] | None = None,
        replace: Collection[str] = (),
        note: str = "",
    ) -> Snapshot:
        """Publishes the next snapshot; returns the latest one where nothing would change.

        Args:
            add: receipts to put in force. Keys in force already (from another writer, say) stay
                with the part that has them: nothing is doubled.
            supersede: table -> keys to drop from the receipts in force before this publish.
            replace: parts (`Receipt.part`) to take out of force whole. The keys of added receipts
                then count only where a replaced part has them in force (compaction).
            note: shown beside the snapshot.

        Raises:
            CommitError: counts do not reconcile, or gc has collected a part that is to be added.
            StoreError: the store cannot be written; nothing is published.
        """
        change = Change(
            add=tuple(add),
            supersede={table: frozenset(keys) for table, keys in (supersede or {}).items()},
            replace=frozenset(replace),
        )
        return publish_change(self, change, note=note)

    def orphan_receipts(
        self, *, verify: bool = True, shards: Collection[str] | None = None
    ) -> list[Receipt]:
        """Receipts no snapshot has settled yet, whose parts are whole: `publish(add=…)` adopts.

        Those that are damaged, or whose part is, are left out: their inputs are done again.

        Args:
            verify: read the parts.
            shards: only those of these, as ``{table}-{shard}``; others are not read.
        """
        if not self.reads_only:
            self.root.begin_writing()  # gc leaves what is found from here on
        orphans = find_orphans(self, verify=verify, shards=shards)
        if not self.reads_only:  # who wrote them may have been killed before names were durable
            self.root.sync(*(f"{self.folder}/{receipt.path}" for receipt in orphans))
        return orphans

    def receipt(self, path: str) -> Receipt:
        """The receipt at `path` below the artifact's folder (cached: receipts are immutable)."""
        receipt = self._receipts.get(path)
        if receipt is None:
            receipt = read_receipt(self.root, self.folder, path)
            self.keep(receipt, path=path)
        return receipt

    def keep(self, receipt: Receipt, *, path: str | None = None) -> None:
        """Have a receipt at hand, as its writer gave it, or as it was read at `path`."""
        if self._cached_inputs > _CACHED_INPUTS:
            self._receipts, self._cached_inputs = {}, 0
        self._receipts[path or receipt.path] = receipt
        if path in (None, receipt.path):  # it speaks of its own part
            self.keys.learn(receipt.part, receipt.keys)
        self._cached_inputs += len(receipt.outcomes)

    def verified_path(self, part: str, *, size: int, checksum: str) -> Path:
        """A local file with the bytes of `part`, verified the first time it is asked for.

        Raises:
            IntegrityError: they are not what the receipt promised.
            MissingArtifactError: the part is gone.
        """
        return self._parts.path(f"{self.folder}/{part}", size=size, checksum=checksum)

    def _last_number(self) -> int:
        """The largest number ever published, whatever a listing hides; 0 before the first."""
        names = self.root.list(f"{self.folder}/snapshots")  # a hint: probing has the last word
        removal = last_removal(self.root, self.folder)
        number = max([layout.number_of(name) or 0 for name in names], default=0)
        number = max(number, removal.latest if removal else 0)
        while self.root.exists(layout.snapshot(self.folder, number + 1)):
            number += 1
        return number

    def __repr__(self) -> str:
        return f"Artifact({self.root.uri}/{self.folder})"


def _found(root: Root, kind: str, fingerprint: str) -> Artifact:
    return Artifact(root, kind=kind, fingerprint=fingerprint)
