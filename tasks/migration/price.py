"""What a migration costs before it is begun: videos, hours and bytes, by what earlier runs took.

The same model embeds at the rate at which it last did. A model that never embedded here is taken to
be as much slower than the old one as it has more multiply-accumulates, where both are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from reelvec.configs import PipelineConfig
from reelvec.models.costs import Macs, costs_of
from reelvec.models.errors import ModelError
from reelvec.models.family import RetrievalModel
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError, ReelvecError
from reelvec.storage.naming import ChosenRun, places_of
from reelvec.storage.runs import RunRecord, StageRecord, list_runs
from reelvec.storage.tables import iter_tables
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import plan_ingest
from reelvec.tasks.embedding.embed import plan_embed
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.identity import model_settings
from reelvec.tasks.runs.rates import rate_of
from reelvec.tasks.training.finding import find_trained
from reelvec.tasks.weights.files import name_model

__all__ = ["Price", "price_of"]

_TABLES = ("videos", "captions")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What is to be done, and what it will take."""

    videos: int
    """To embed."""
    captions: int
    decodes: int
    """Clips whose frames are not there, since this model wants others, or nobody decoded them."""
    seconds: float | None
    """Of all stages together; None: no run of this store tells."""
    bytes: int
    """The new tables, and frames that must be decoded; where both are there already, 0."""
    by: str
    """What the seconds are taken from."""

    @property
    def words(self) -> str:
        """On a line."""
        time = "an unknown time" if self.seconds is None else _time(self.seconds)
        decodes = (
            f", {self.decodes:,} of them to decode" if self.decodes else ", from cached frames"
        )
        return (
            f"{self.videos:,} videos and {self.captions:,} captions{decodes}: about {time}"
            f" ({self.by}), {self.bytes / 2**20:,.1f} MiB"
        )

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class _RowBytes:
    """What a row takes in its part."""

    video: float
    caption: float


def price_of(session: Session, base: ChosenRun) -> Price:
    """The price of a run that is not made yet, or half.

    Args:
        session: of the run that is to be made.
        base: the run whose place it is to take; its frames are used where they fit.
    """
    places = places_of(session.root, base.record, as_ended=base.as_ended)
    tables = _at(session, "embeddings", places)
    corpus, extract = plan_ingest(session), plan_extract(session)
    videos, captions = _due(session, tables, added=corpus.new)
    decodes = extract.clips + corpus.new
    runs = list_runs(session.root, dropped=True)[::-1]
    seconds, by = _seconds(session.config, base.record, runs, videos=videos, decodes=decodes)
    row = _row_bytes(session.config, tables, runs)
    size = round(videos * row.video + captions * row.caption)
    if decodes and "frames" in places:
        frames = _at(session, "frames", places)
        size += frames.bytes * decodes // max(1, frames.counts().usable)
    return Price(
        videos=videos, captions=captions, decodes=decodes, seconds=seconds, bytes=size, by=by
    )


def _at(session: Session, kind: str, places: Mapping[str, tuple[str, int]]) -> Snapshot:
    fingerprint, number = places[kind]
    return session.find(kind, fingerprint).at(number)


def _due(session: Session, tables: Snapshot, *, added: int) -> tuple[int, int]:
    """Videos and captions to embed: all that the old tables have, but for what is done already."""
    trained = find_trained(session)
    if trained is None:
        return tables.rows_of("videos") + added, tables.rows_of("captions")
    plan = plan_embed(session, weights_hash=trained.weights_hash)
    done = sum(receipt.counts.planned for receipt in plan.adopted if receipt.table == "videos")
    return plan.new + len(plan.stale) - plan.copied - done + added, plan.new_captions


def _seconds(
    config: PipelineConfig,
    base: RunRecord,
    runs: Iterable[RunRecord],
    *,
    videos: int,
    decodes: int,
) -> tuple[float | None, str]:
    records = list(runs)
    like = [run for run in records if _model(run) == _named(config)]
    rate, factor = rate_of(like, "embed"), 1.0
    if rate is not None:
        by = f"as the run ({like[0].name}) took with this model"
    else:
        rate = rate_of([run for run in records if _model(run) == _model(base)], "embed")
        factor, by = _slower(config, base)
    if rate is None:
        return None, "no run of this store says how long embedding takes"
    embedding = rate.fixed + factor * rate.each * videos if videos else 0.0
    decode = rate_of(records, "extract") if decodes else None
    decoding = decode.seconds(decodes) if decode else 0.0
    others = next((_others(run) for run in records if rate_of([run], "embed")), 0.0)
    return embedding + decoding + others, by


def _model(run: RunRecord) -> Mapping[str, Any] | None:
    """The settings of a run's model; None: they are of another version."""
    try:
        model = PipelineConfig.model_validate(dict(run.config)).model
    except ValueError:
        return None
    return model_settings(model) | {"weights": model.weights}


def _named(config: PipelineConfig) -> Mapping[str, Any]:
    return model_settings(config.model) | {"weights": config.model.weights}


def _stage(run: RunRecord, name: str) -> StageRecord | None:
    return next((stage for stage in run.stages if stage["name"] == name), None)


def _others(run: RunRecord) -> float:
    """Seconds of the stages that look at every row once: listing and scoring."""
    stages = (_stage(run, name) for name in ("train", "evaluate"))
    return sum(stage["seconds"] for stage in stages if stage and run.config["train"]["epochs"] == 0)


def _slower(config: PipelineConfig, base: RunRecord) -> tuple[float, str]:
    """How many times the work of the old model a video is, by MACs."""
    new = _macs(config.model.weights)
    old = _macs(base.config.get("model", {}).get("weights"))
    if new is None or old is None or not old.video:
        return 1.0, f"as long as the model of ({base.name}) took: the sizes are not both known"
    factor = new.video / old.video
    return factor, f"{factor:.2g} times as long as the model of ({base.name}) took, by MACs a video"


def _macs(weights: object) -> Macs | None:
    model = _model_in(str(weights)) if weights else None
    return None if model is None else costs_of(model).macs


@lru_cache(maxsize=2)
def _model_in(weights: str) -> RetrievalModel | None:
    """The model of a weights file without its numbers; None: the file does not say."""
    try:
        return name_model(weights).rehearsed()
    except (ReelvecError, ModelError):
        return None


def _row_bytes(config: PipelineConfig, tables: Snapshot, runs: Iterable[RunRecord]) -> _RowBytes:
    """As many as the same model took; else as the old tables, but for the vectors."""
    root = tables.artifact.root
    for run in runs:
        if "embeddings" in run.artifacts and _model(run) == _named(config):
            fingerprint = run.artifacts["embeddings"][0]
            with suppress(MissingArtifactError):
                made = Artifact.find(root, kind="embeddings", fingerprint=fingerprint).latest()
                if made is not None and made.rows:
                    return _RowBytes(*(_bytes_a_row(made, table) for table in _TABLES))
    model = _model_in(config.model.weights) if config.model.weights else None
    old = [_bytes_a_row(tables, table) for table in _TABLES]
    if model is None:
        return _RowBytes(*old)
    number = 2 if config.embed.dtype == "float16" else 4
    columns = model.video_columns, model.text_columns
    new = [number * sum(column.size for column in of.values()) for of in columns]
    vectors = [_vector_bytes(tables, table) for table in _TABLES]
    return _RowBytes(*(b - was + n for b, was, n in zip(old, vectors, new, strict=True)))


def _bytes_a_row(snapshot: Snapshot, table: str) -> float:
    parts = [entry for entry in snapshot.entries if entry.table == table]
    return sum(part.bytes for part in parts) / max(1, sum(part.rows for part in parts))


def _vector_bytes(snapshot: Snapshot, table: str) -> int:
    """Of the vectors of a row, which no compression makes smaller."""
    for piece in iter_tables(snapshot, table, batch_rows=1):
        kinds = [field.type for field in piece.schema if pa.types.is_fixed_size_list(field.type)]
        return sum(kind.list_size * kind.value_type.bit_width // 8 for kind in kinds)
    return 0


def _time(seconds: float) -> str:
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
