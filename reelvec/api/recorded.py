"""What a run's record names: each artifact opened once, at the snapshot the run ended with."""

from __future__ import annotations

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord

__all__ = ["RecordedArtifacts"]

_STAGES = {
    "corpus": "ingest",
    "frames": "extract",
    "checkpoint": "train",
    "embeddings": "embed",
    "evaluation": "evaluate",
}


class RecordedArtifacts:
    """The snapshots of one run by kind. What is published later is not seen.

    A record may name an evaluation alone (`reelvec evaluate`); the tables it was made from are
    found through it.
    """

    def __init__(self, root: Root, record: RunRecord) -> None:
        self.root = root
        self._record = record
        self._opened: dict[str, Snapshot] = {}

    def snapshot(self, kind: str) -> Snapshot:
        """The snapshot of this kind; where gc has retired it, the one that took its place.

        Raises:
            MissingArtifactError: the run made none, or the store has lost it.
        """
        if kind not in self._opened:
            fingerprint, number = self._place(kind)
            artifact = Artifact.find(self.root, kind=kind, fingerprint=fingerprint)
            self._opened[kind] = _at(artifact, number)
        return self._opened[kind]

    def has(self, kind: str) -> bool:
        """Whether the run has an artifact of this kind; a store that lost it still says yes."""
        try:
            self._place(kind)
        except MissingArtifactError:
            return False
        return True

    def _place(self, kind: str) -> tuple[str, int]:
        """Fingerprint and snapshot number (0: the latest)."""
        named = self._record.artifacts.get(kind)
        if named is not None:
            return named
        if kind == "embeddings" and "evaluation" in self._record.artifacts:
            evaluation = self.snapshot("evaluation")
            return str(evaluation.artifact.identity[kind]), _source(evaluation, kind)
        if kind in ("corpus", "frames") and self.has("embeddings"):
            identity = self.snapshot("embeddings").artifact.identity
            number = _source(self.snapshot("evaluation"), kind) if self.has("evaluation") else 0
            if kind in identity:
                return str(identity[kind]), number
        raise MissingArtifactError(
            f"the run ({self._record.name}, {self._record.identifier}) has no {kind}; it has "
            f"{', '.join(sorted(self._record.artifacts)) or 'nothing'}. `reelvec run` with the "
            f"stage {_STAGES.get(kind, kind)} makes it",
            path=self.root.uri,
        )


def _at(artifact: Artifact, number: int) -> Snapshot:
    """Snapshot `number`, or the latest where that one is gone and a later one is there."""
    if number:
        try:
            return artifact.at(number)
        except MissingArtifactError:
            latest = artifact.latest()
            if latest is None or latest.number < number:
                raise
            return latest
    found = artifact.latest()
    if found is None:
        raise MissingArtifactError(f"{artifact.folder} has no snapshot yet", path=artifact.folder)
    return found


def _source(evaluation: Snapshot, kind: str) -> int:
    """The snapshot number of `kind` that an evaluation was made from; 0 where it names none."""
    for part in evaluation.parts("coverage"):
        return int(part.receipt.extra.get(kind, 0))
    return 0
