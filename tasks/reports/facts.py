"""What a report says in words: notes, stages, failures, and where every number comes from."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.corpora.check import FEW_VIDEOS
from reelvec.storage.reasons import Status
from reelvec.storage.runs import RunRecord
from reelvec.tasks.corpus.ledger import ledger
from reelvec.tasks.reports.model_facts import cost_facts
from reelvec.tasks.reports.rendering.contents import Failure, StageCost
from reelvec.tasks.reports.rendering.operations import duration
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.rows import CoverageRow

__all__ = [
    "checkpoint_facts",
    "failures_of",
    "identities_of",
    "notes_of",
    "provenance_of",
    "stages_of",
    "subtitle_of",
    "times_of",
]

_PACKAGES = ("reelvec", "torch", "numpy", "pyarrow", "av", "pillow", "prefect")


def subtitle_of(sources: ReportSources, coverage: Sequence[CoverageRow]) -> str:
    """Model, corpus and split on one line."""
    config = sources.config
    options = [str(value) for value in config.model.options.values()]
    start = Path(config.model.weights).name if config.model.weights else config.model.architecture
    trained = f"{config.train.epochs} epochs" if config.train.epochs else "not trained here"
    scored = [row for row in coverage if row.scored]
    videos = sum(row.ok + row.salvaged for row in scored)
    captions = sum(row.captions_scored for row in scored)
    undivided = scored and not scored[0].split  # one split that is every split
    where = "every split" if undivided else f"split {config.evaluate.split}"
    return " · ".join(
        [
            " ".join([config.model.family, *options, start]),
            trained,
            f"{config.corpus.kind} corpus of {len(sources.corpus.videos):,} videos",
            f"scored on {where}: {videos:,} videos, {captions:,} captions",
        ]
    )


def times_of(run: RunRecord | None) -> str:
    """When the run was; the only words that differ between equal runs."""
    if run is None or not run.started:
        return ""
    start = datetime.fromisoformat(run.started)
    words = f"Run of {start:%Y-%m-%d %H:%M:%S} {start.tzname() or ''}".rstrip()
    if run.ended:
        seconds = (datetime.fromisoformat(run.ended) - start).total_seconds()
        words += f", {duration(seconds)}"
    return words


def notes_of(sources: ReportSources, coverage: Sequence[CoverageRow]) -> tuple[str, ...]:
    """What a reader must know before the numbers, the run's own notes first."""
    config, train = sources.config, sources.config.train
    scored = [row for row in coverage if row.scored]
    usable = sum(row.ok + row.salvaged for row in scored)
    seen, unseen = _seen_and_unseen(sources, splits={row.split for row in scored})
    notes = [config.notes, *sources.notes]
    if seen:
        notes.append(
            f"{seen} of the {usable} scored videos were trained on: the numbers show what was"
            " memorised, not how well the model does on videos it has not seen."
        )
    if unseen:
        notes.append(
            f"{unseen} videos of the training split came after this model was trained and it has"
            " not seen them; train.when_corpus_grows=retrain trains it anew."
        )
    if train.epochs and train.selection_split == "test":
        notes.append(
            "The best epoch was chosen on the test split, as the papers do; the numbers flatter."
        )
    if not train.epochs and not config.model.weights:
        notes.append("The weights are random: nothing was trained and no archive was given.")
    notes += _size_notes(sources, coverage)
    return tuple(dict.fromkeys(note for note in notes if note))


def _size_notes(sources: ReportSources, coverage: Sequence[CoverageRow]) -> list[str]:
    """Whether as much is scored as the numbers need to mean something."""
    split = sources.config.evaluate.split
    scored = [row for row in coverage if row.scored]
    usable = sum(row.ok + row.salvaged for row in scored)
    lost = sum(row.quarantined for row in scored)
    notes = []
    if not sum(row.planned for row in scored):
        names = ", ".join(row.split for row in coverage if row.planned)
        notes.append(
            f"No video is in the split {split!r}: nothing was scored. The corpus has"
            f" {names or 'no videos'}; set evaluate.split to one of them."
        )
    elif not sum(row.captions_scored for row in scored):
        notes.append(f"The split {split!r} has no captions: nothing was scored.")
    elif usable < FEW_VIDEOS:
        notes.append(
            f"Only {usable} videos are scored: one of them found or not moves R@1 by"
            f" {100 / usable:.0f} points, and the intervals say little."
        )
    if lost:
        notes.append(
            f"{lost} of the {usable + lost} videos of the split could not be used and are not"
            " scored; each stands under coverage with its reason."
        )
    return notes


def _seen_and_unseen(sources: ReportSources, *, splits: Collection[str]) -> tuple[int, int]:
    """Scored videos that were trained on, and videos of the training split that were not."""
    seen = unseen = 0
    if not sources.trained_on:
        return 0, 0
    for row in ledger(sources.corpus, frames=sources.frames):
        if row.status in (Status.OK, Status.SALVAGED):
            known = row.clip_key in sources.trained_on
            seen += known and row.split in splits
            unseen += not known and row.split == "train"
    return seen, unseen


def stages_of(run: RunRecord | None) -> tuple[StageCost, ...]:
    """Stage times of the run's record."""
    stages = run.stages if run is not None else ()
    return tuple(
        StageCost(name=stage["name"], seconds=stage["seconds"], counts=stage["counts"])
        for stage in stages
    )


def failures_of(sources: ReportSources) -> tuple[Failure, ...]:
    """Quarantined and salvaged videos of the corpus, in its order."""
    return tuple(
        Failure(
            video_id=row.video_id,
            path=row.path,
            split=row.split,
            status=row.status,
            reason=row.reason,
            message=row.message,
            stage=row.stage,
            detail=row.detail if row.status == Status.SALVAGED else "",
        )
        for row in ledger(sources.corpus, frames=sources.frames)
        if row.status in (Status.QUARANTINED, Status.SALVAGED)
    )


Group = tuple[str, tuple[tuple[str, str], ...]]


def provenance_of(sources: ReportSources) -> tuple[Group, ...]:
    """Fingerprints, snapshots, weights and software behind the numbers."""
    corpus = f"{sources.corpus.ref.fingerprint} · snapshot {sources.corpus.ref.number}"
    tables = (
        ("evaluation", _named(sources.evaluation)),
        ("embeddings", _named(sources.embeddings)),
        ("frames", _named(sources.frames)),
        ("corpus", corpus),
        ("checksum of embeddings", sources.embeddings.checksum),
        ("checksum of frames", sources.frames.checksum),
    )
    identity = sources.embeddings.artifact.identity
    model = (
        ("weights (hash)", str(identity.get("weights", ""))),
        ("best epoch", str(sources.best_epoch or "not trained")),
        *((f"checkpoint {name}", str(value)) for name, value in checkpoint_facts(sources).items()),
        ("started from", sources.config.model.weights or "random weights"),
        ("family", sources.config.model.family),
        *cost_facts(sources),
        ("options", json.dumps(sources.config.model.options, sort_keys=True)),
        ("frames a video", f"{sources.config.model.max_frames}, chosen by "
         f"{sources.config.model.frame_selection}"),
    )  # fmt: skip
    software = [("python", platform.python_version())]
    for package in _PACKAGES:
        try:
            software.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue  # run from a checkout that is not installed
    return (("Tables", tables), ("Model", model), ("Software", tuple(software)))


def checkpoint_facts(sources: ReportSources) -> dict[str, str | int]:
    """Where the weights are from; empty where that is not known."""
    ref = sources.checkpoint
    if ref is None:
        return {}
    return {
        "artifact": ref.fingerprint,
        "snapshot": ref.number,
        "weights": sources.weights_hash,
    }


def _named(snapshot: Snapshot) -> str:
    return f"{snapshot.artifact.fingerprint} · snapshot {snapshot.number}"


def identities_of(sources: ReportSources) -> tuple[tuple[str, str], ...]:
    """The identities behind the fingerprints, as JSON."""
    artifacts = [s.artifact for s in (sources.evaluation, sources.embeddings, sources.frames)]
    return tuple(
        (artifact.kind, json.dumps(artifact.identity, indent=2, sort_keys=True))
        for artifact in artifacts
    )
