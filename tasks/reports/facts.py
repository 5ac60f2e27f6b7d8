"""What a report says in words: stages, failures, and where every number comes from."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.reasons import Status
from reelvec.storage.runs import RunRecord
from reelvec.tasks.corpus.ledger import ledger
from reelvec.tasks.reports.model_facts import cost_facts
from reelvec.tasks.reports.rendering.contents import Failure, StageCost
from reelvec.tasks.reports.rendering.operations import duration
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.rows import CoverageRow

__all__ = [
    "failures_of",
    "identities_of",
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
        *((f"checkpoint {name}", str(value)) for name, value in sources.checkpoint_facts.items()),
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


def _named(snapshot: Snapshot) -> str:
    return f"{snapshot.artifact.fingerprint} · snapshot {snapshot.number}"


def identities_of(sources: ReportSources) -> tuple[tuple[str, str], ...]:
    """The identities behind the fingerprints, as JSON."""
    artifacts = [s.artifact for s in (sources.evaluation, sources.embeddings, sources.frames)]
    return tuple(
        (artifact.kind, json.dumps(artifact.identity, indent=2, sort_keys=True))
        for artifact in artifacts
    )
