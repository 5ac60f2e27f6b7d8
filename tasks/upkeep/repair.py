"""Repair: a damaged store made valid again, and which videos a run has to redo for it.

Some parts mean something only together: a training's checkpoints from a damaged one on (a later
one names its best, which would be gone), its training set with all of them, and the tables of an
evaluation. They leave force together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.naming import choose_run
from reelvec.storage.roots import open_root
from reelvec.storage.runs import latest_run
from reelvec.storage.upkeep.repair import Repair, repair_store
from reelvec.storage.upkeep.verify import Damage
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import key_of, read_corpus
from reelvec.tasks.training.committed import CHECKPOINTS
from reelvec.tasks.training.curves import CURVE

__all__ = ["Repaired", "repair", "stages_to_run", "videos_of"]

_STAGES = {
    "corpus": "ingest",
    "frames": "extract",
    "audio": "audio",
    "features": "train",
    "checkpoint": "train",
    "embeddings": "embed",
    "evaluation": "evaluate",
}


@dataclass(frozen=True)
class Repaired:
    """What was damaged and what was done; `has_run`: a run is known that can redo the rest."""

    repairs: list[Repair]
    has_run: bool


def repair(store: str) -> Repaired:
    """Make the store valid again; what was lost is redone by the next run.

    Raises:
        StoreError: the store cannot be written.
    """
    root = open_root(store)
    repairs = repair_store(root, together=_together)
    return Repaired(repairs, has_run=latest_run(root) is not None)


def _together(snapshot: Snapshot, damaged: frozenset[str]) -> frozenset[str]:
    kind = snapshot.artifact.kind
    if kind == "evaluation":
        return frozenset(entry.part for entry in snapshot.entries)
    if kind == "checkpoint":
        lost = [e for e in snapshot.entries if e.part in damaged and e.table != CURVE]
        if not lost:
            return damaged  # the curve alone: nothing else is made from it
        if any(entry.table != CHECKPOINTS for entry in lost):
            return frozenset(entry.part for entry in snapshot.entries)
        first = min(entry.shard for entry in lost)  # shards are named by step, with leading zeros
        checkpoints = [entry for entry in snapshot.entries if entry.table == CHECKPOINTS]
        return damaged | {entry.part for entry in checkpoints if entry.shard >= first}
    return damaged


def stages_to_run(store: str) -> list[str]:
    """Stages whose artifacts the run in use (with those it stands on) has, in pipeline order."""
    try:
        made = choose_run(open_root(store)).record.artifacts
    except MissingArtifactError:
        made = {}
    stages = [stage for kind, stage in _STAGES.items() if kind in made]
    return [*stages, "report"] if "evaluate" in stages else stages


def videos_of(config: PipelineConfig, damages: Iterable[Damage]) -> list[str]:
    """Ids of the corpus's videos that were redone: those whose rows, captions or frames were lost.

    Damage of checkpoints and evaluations concerns no video in particular.
    """
    corpus = read_corpus(Session(config))
    names: dict[str, set[str]] = {}
    for video in corpus.videos:
        names.setdefault(video.video_id, set()).add(video.video_id)
        names.setdefault(key_of(video), set()).add(video.video_id)
    for caption in corpus.captions:
        names.setdefault(caption.caption_id, set()).add(caption.video_id)
    redone: set[str] = set()
    for damage in damages:
        if damage.kind in ("corpus", "frames", "audio", "embeddings"):
            for key in damage.keys:
                redone |= names.get(key, set())
    return sorted(redone)
