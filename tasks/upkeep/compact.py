"""Compact: the parts of tables and frames that many nights have left small, merged.

`reelvec compact` merges all it can; `reembed` merges a bounded amount before it adds a night's
parts (the config's `compaction`), so that a store that grows by one video a night keeps few parts.
The old parts stay until `gc` finds that no kept snapshot names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reelvec.configs.schema import CompactionConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.compaction import EVERYTHING, compact, plan_compaction
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.status import full_fingerprint
from reelvec.tasks.training.finding import find_trained

__all__ = ["GROWING", "Compacted", "compact_run", "compact_store"]

GROWING = ("corpus", "frames", "audio", "embeddings")
"""Kinds of artifact that grow part by part; the others are replaced whole."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was (or, in a dry run, would be) merged in one artifact."""

    kind: str
    identity: str
    snapshot: int
    """The snapshot that holds the result; in a dry run the one in force."""
    parts_before: int
    parts_after: int
    bytes: int
    """Bytes of the parts that are merged, as they were."""


def compact_store(
    store: str, *, kind: str = "", identity: str = "", dry_run: bool = False
) -> list[Compacted]:
    """Merge all that can be merged; answers for the artifacts where something was.

    Args:
        store: root of the store.
        kind: only artifacts of this kind (one of GROWING); "": all three.
        identity: only the artifact whose fingerprint starts with these digits.
        dry_run: only say what would be merged.

    Raises:
        MissingArtifactError, StoreError: no such artifact, or several could be meant.
        IntegrityError: a part is damaged; nothing of its artifact is changed.
    """
    if identity:
        identity = full_fingerprint(store, kind=kind, prefix=identity)
    chosen = [
        artifact
        for artifact in Artifact.all(open_root(store))
        if artifact.kind in ((kind,) if kind else GROWING)
        and artifact.fingerprint.startswith(identity)
    ]
    return _compact_all(chosen, options=EVERYTHING, dry_run=dry_run)


def compact_run(session: Session) -> list[Compacted]:
    """Merge what the run's `compaction` says, in the artifacts that this run makes grow.

    Best done just before they grow: what is scored and recorded afterwards is what is in force.

    Raises:
        IntegrityError: a part is damaged; nothing of its artifact is changed.
        StoreError: no room for the merged parts.
    """
    artifacts = [session.corpus, session.frames]
    if session.config.hears:
        artifacts.append(session.audio)
    trained = find_trained(session)
    if trained is not None:
        artifacts.append(session.embeddings(weights_hash=trained.weights_hash))
    done = _compact_all(artifacts, options=session.config.compaction)
    for artifact in artifacts:
        session.forget(artifact)
    return done


def _compact_all(
    artifacts: Iterable[Artifact], *, options: CompactionConfig, dry_run: bool = False
) -> list[Compacted]:
    results = [_compact(artifact, options=options, dry_run=dry_run) for artifact in artifacts]
    return [one for one in results if one is not None]


def _compact(artifact: Artifact, *, options: CompactionConfig, dry_run: bool) -> Compacted | None:
    before = artifact.latest()
    merges = plan_compaction(before, options=options) if before else []
    if before is None or not merges:
        return None
    after = None if dry_run else compact(artifact, options=options)
    fewer = sum(len(merge.parts) - 1 for merge in merges)
    return Compacted(
        kind=artifact.kind,
        identity=artifact.fingerprint,
        snapshot=after.number if after else before.number,
        parts_before=len(before.entries),
        parts_after=len(after.entries) if after else len(before.entries) - fewer,
        bytes=sum(merge.bytes for merge in merges),
    )
