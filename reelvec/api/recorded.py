"""What a run's record names: each artifact opened once, at one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.loader import validate
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.corpus.ledger import LedgerRow, sound_failures

__all__ = ["RecordedArtifacts", "config_of"]

_STAGES = {
    "corpus": "ingest",
    "frames": "extract",
    "audio": "audio",
    "checkpoint": "train",
    "embeddings": "embed",
    "evaluation": "evaluate",
}

_MADE_FROM = {"embeddings": "evaluation"} | dict.fromkeys(
    ("corpus", "frames", "audio"), "embeddings"
)
"""Kind -> the kind whose identity names it."""


class RecordedArtifacts:
    """The snapshots of one run by kind.

    A record may name an evaluation alone (`reelvec evaluate`); the tables it was made from are
    found through it.

    Args:
        root: the store.
        record: the run.
        as_ended: read each snapshot the record names, else the one in force now. Where gc has
            retired it, the latest has taken its place.

    Attributes:
        root: the store.
        named: kind -> what the record names.
    """

    def __init__(self, root: Root, record: RunRecord, *, as_ended: bool) -> None:
        self.root = root
        self._as_ended = as_ended
        self.named: Mapping[str, SnapshotRef] = {
            kind: SnapshotRef(root.uri, kind, fingerprint, number)
            for kind, (fingerprint, number) in record.artifacts.items()
        }
        self._run = f"{record.name}, {record.identifier}"
        self._opened: dict[str, Snapshot] = {}

    def snapshot(self, kind: str) -> Snapshot:
        """The snapshot of this kind, the same on every call.

        Raises:
            MissingArtifactError: the run made none, or the store has lost it.
        """
        if kind not in self._opened:
            ref = self._ref(kind)
            artifact = Artifact.find(self.root, kind=kind, fingerprint=ref.fingerprint)
            self._opened[kind] = _snapshot_of(artifact, ref.number, as_ended=self._as_ended)
        return self._opened[kind]

    def has(self, kind: str) -> bool:
        """Whether the run has an artifact of this kind; a store that lost it still says yes."""
        try:
            self._ref(kind)
        except MissingArtifactError:
            return False
        return True

    def sound_failures(self) -> list[LedgerRow]:
        """Videos without sound; empty where there is no artifact of it."""
        if not self.has("audio"):
            return []
        return sound_failures(self.snapshot("corpus"), audio=self.snapshot("audio"))

    def _ref(self, kind: str) -> SnapshotRef:
        """What the record names, or what the things it names were made from (0: the latest)."""
        if kind in self.named:
            return self.named[kind]
        number = _source(self.snapshot("evaluation"), kind) if "evaluation" in self.named else 0
        made = _MADE_FROM.get(kind)
        if made is not None and self.has(made):
            identity = self.snapshot(made).artifact.identity
            if kind in identity:
                return SnapshotRef(self.root.uri, kind, str(identity[kind]), number)
        there = ", ".join(sorted(self.named)) or "nothing"
        raise MissingArtifactError(
            f"the run ({self._run}) has no {kind}, only {there}; `reelvec run` with the stage"
            f" {_STAGES[kind]} makes it",
            path=self.root.uri,
        )


def config_of(record: RunRecord, root: Root) -> PipelineConfig:
    """The configuration of a run, with `store` where it lies now.

    Raises:
        StoreError: another version of Reelvec wrote it, and this one does not know a key.
    """
    try:
        document = {**record.config, "store": root.uri}
        return validate(document, source=f"the run ({record.name}, {record.identifier})")
    except ConfigError as error:
        raise StoreError(
            f"the configuration of a run was written by another version of Reelvec: {error}",
            path=root.uri,
        ) from error


def _snapshot_of(artifact: Artifact, number: int, *, as_ended: bool) -> Snapshot:
    if as_ended and number:
        with suppress(MissingArtifactError):
            return artifact.at(number)
    latest = artifact.latest()
    if latest is None or latest.number < number:
        raise MissingArtifactError(
            f"the store ({artifact.root.uri}) has lost snapshot {number} of {artifact.folder}; "
            "`reelvec verify` says what else, and the same run makes it again",
            path=artifact.folder,
        )
    return latest


def _source(evaluation: Snapshot, kind: str) -> int:
    """The snapshot number of `kind` that an evaluation was made from; 0 where it names none."""
    for part in evaluation.parts("coverage"):
        return int(part.receipt.extra.get(kind, 0))
    return 0
