"""The artifacts of one run: each opened once, its latest snapshot read once, named in one spelling.

A session lives as long as one run (or one command) and sees the store as it was when it first
looked: all stages work on the same snapshots, and what another writer publishes meanwhile is seen
by the next session. Publishing does not go by these caches: it always starts from the snapshot that
is the latest then (`Artifact.publish`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.commits.views import ReadableArtifact
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, latest_run
from reelvec.tasks.identity import (
    audio_identity,
    corpus_identity,
    embeddings_identity,
    frames_identity,
)
from reelvec.tasks.losses import check_losses

__all__ = ["Session", "SnapshotRef"]


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """Names one snapshot, in any process: plain values only, small, picklable."""

    root: str
    """URI of the store."""
    kind: str
    """Of the artifact: corpus, frames, audio, features, checkpoint, embeddings or evaluation."""
    fingerprint: str
    """Of the artifact's identity."""
    number: int = 0
    """0: the artifact before its first snapshot."""

    @classmethod
    def to(cls, snapshot: Snapshot) -> SnapshotRef:
        """The reference to this snapshot."""
        return cls.of(snapshot.artifact, number=snapshot.number)

    @classmethod
    def of(cls, artifact: ReadableArtifact, *, number: int = 0) -> SnapshotRef:
        """The reference to a snapshot of this artifact."""
        return cls(artifact.root.uri, artifact.kind, artifact.fingerprint, number)

    def artifact(self) -> Artifact:
        """The artifact, opened anew.

        Raises:
            MissingArtifactError: the store has none of this fingerprint.
        """
        return Artifact.find(open_root(self.root), kind=self.kind, fingerprint=self.fingerprint)

    def open(self) -> Snapshot:
        """The snapshot, read anew.

        Raises:
            MissingArtifactError: it was never published, or gc removed it.
        """
        return self.artifact().at(self.number)


class Session:
    """The open artifacts of one run.

    Attributes:
        config: the run.
        root: its store, opened here where the caller has not.
        accepts_losses: rows may be lost without bound (config.max_lost_fraction is not looked at).
        rehash: every video is hashed again, though its file looks as it did.
        refreshes: the run keeps the tables of another one true, as the scheduled flow does.
        plans: only what would be done is looked for: nothing is written.
    """

    def __init__(
        self,
        config: PipelineConfig,
        *,
        root: Root | None = None,
        accepts_losses: bool = False,
        rehash: bool = False,
        refreshes: bool = False,
        plans: bool = False,
    ) -> None:
        self.config = config
        self.plans = plans
        self.rehash = rehash
        self.refreshes = refreshes
        self.root = root or open_root(config.store)
        self.accepts_losses = accepts_losses
        self._artifacts: dict[tuple[str, str], Artifact] = {}
        self._latest: dict[tuple[str, str], Snapshot | None] = {}

    @cached_property
    def corpus(self) -> Artifact:
        """Videos and captions of the run."""
        return self.open("corpus", corpus_identity(self.config))

    @cached_property
    def frames(self) -> Artifact:
        """Its decoded clips (shared with every run of the same extract settings)."""
        return self.open("frames", frames_identity(self.config.extract))

    @cached_property
    def audio(self) -> Artifact:
        """The sound of its clips; of runs whose model hears alone."""
        return self.open("audio", audio_identity(self.config.extract))

    def embeddings(self, *, weights_hash: str) -> Artifact:
        """The tables of the run, made with these weights."""
        identity = embeddings_identity(
            self.config,
            weights_hash=weights_hash,
            corpus=self.corpus.fingerprint,
            frames=self.frames.fingerprint,
            audio=self.audio.fingerprint if self.config.hears else "",
        )
        return self.open("embeddings", identity)

    def open(self, kind: str, identity: Mapping[str, Any]) -> Artifact:
        """The artifact of this identity, made if it is not there.

        Raises:
            IntegrityError, IdentityError: identity.json is damaged, or holds another identity.
        """
        key = kind, layout.fingerprint(identity)
        if key not in self._artifacts:
            self._artifacts[key] = self._opened(kind, identity)
        return self._artifacts[key]

    def _opened(self, kind: str, identity: Mapping[str, Any]) -> Artifact:
        if not self.plans:
            return Artifact.open(self.root, kind=kind, identity=identity)
        fingerprint = layout.fingerprint(identity)
        try:
            found = Artifact.find(self.root, kind=kind, fingerprint=fingerprint)
        except MissingArtifactError:  # as it would begin
            found = Artifact(self.root, kind=kind, fingerprint=fingerprint)
            found.identity = dict(identity)
        found.reads_only = True
        return found

    def find(self, kind: str, fingerprint: str) -> Artifact:
        """The artifact with this fingerprint.

        Raises:
            MissingArtifactError: the store has none.
        """
        key = kind, fingerprint
        if key not in self._artifacts:
            self._artifacts[key] = Artifact.find(self.root, kind=kind, fingerprint=fingerprint)
        return self._artifacts[key]

    def latest(self, artifact: Artifact) -> Snapshot | None:
        """The snapshot in force when this session first asked, or published in it since."""
        key = artifact.kind, artifact.fingerprint
        if key not in self._latest:
            self._latest[key] = artifact.latest()
        return self._latest[key]

    def ref(self, artifact: Artifact) -> SnapshotRef:
        """The reference to what `latest` gives; number 0 where there is none yet."""
        snapshot = self.latest(artifact)
        return SnapshotRef.of(artifact, number=snapshot.number if snapshot else 0)

    def at(self, ref: SnapshotRef) -> Snapshot:
        """The snapshot of a reference.

        Raises:
            MissingArtifactError: it was never published, or gc removed it.
        """
        artifact = self.find(ref.kind, ref.fingerprint)
        known = self._latest.get((ref.kind, ref.fingerprint))
        return known if known and known.number == ref.number else artifact.at(ref.number)

    def publish(
        self,
        artifact: Artifact,
        *,
        add: Sequence[Receipt],
        supersede: Mapping[str, Collection[str]],
        note: str,
    ) -> Snapshot:
        """Publish one snapshot; with nothing to say the latest stays as it is.

        A first run over nothing still publishes, so that "no videos" is a fact and not an absence.

        Raises:
            CommitError, StoreError: as `Artifact.publish`.
            TooMuchLostError: more rows that were usable would be lost than the run allows.
        """
        latest = self.latest(artifact)
        if latest is not None and not add and not any(supersede.values()):
            return latest
        if latest is not None and not self.accepts_losses:
            limit = self.config.max_lost_fraction
            check_losses(latest, add=add, supersede=supersede, limit=limit)
        return self.remember(artifact.publish(add=add, supersede=supersede, note=note))

    def remember(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` is the latest of its artifact from here on."""
        self._latest[snapshot.artifact.kind, snapshot.artifact.fingerprint] = snapshot
        return snapshot

    def forget(self, artifact: Artifact) -> None:
        """Look again next time: another process of this run has published."""
        self._latest.pop((artifact.kind, artifact.fingerprint), None)

    @cached_property
    def last_run(self) -> RunRecord | None:
        """The run recorded last when this session first asked; None: none yet."""
        return latest_run(self.root)

    def has_all_of(self, run: RunRecord) -> bool:
        """Whether every snapshot the run names is there, or a later one in its place."""
        try:
            pairs = [
                (self.latest(self.find(kind, fingerprint)), number)
                for kind, (fingerprint, number) in run.artifacts.items()
            ]
        except MissingArtifactError:
            return False
        return all(there is not None and there.number >= number for there, number in pairs)
