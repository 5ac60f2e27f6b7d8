"""A plan with its price: which videos and why, how long by earlier receipts, how many bytes.

Nothing is written and no video is opened: the session plans alone (`Session.plans`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reelvec.configs.schema import STAGES
from reelvec.models.sampling.rules import Rule
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.runs import newest_first
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import IngestPlan
from reelvec.tasks.frames.planning import DecodePlan
from reelvec.tasks.runs.due import LEFT, MODEL, DueVideo, due_videos
from reelvec.tasks.runs.plan import (
    PlannedWork,
    StagePlans,
    plan_stages,
    work_of_tables,
    work_of_whole,
)
from reelvec.tasks.runs.rates import Rate, rates_of
from reelvec.tasks.runs.retrying import RetryFilter
from reelvec.tasks.training.finding import steps_left

__all__ = ["PricedPlan", "StagePrice", "price_refresh", "price_run"]

_NAMED = 50
"""Videos a plan names; the others are counted."""
_UNIT = {
    "ingest": "videos", "extract": "clips", "audio": "clips", "train": "steps", "embed": "rows",
    "evaluate": "scorings",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StagePrice:
    """What a stage would take."""

    stage: str
    units: int
    unit: str
    """What they are: videos, clips, steps, rows, scorings."""
    seconds: float | None
    """None: no earlier receipt says."""
    receipts: int
    """How many said."""
    own: bool
    """Whether they are of runs of this name."""
    bytes: int | None
    """To be written; None: nothing is kept yet to tell by."""

    @property
    def basis(self) -> str:
        """Where the seconds are from."""
        if self.seconds is None:
            return "no earlier receipt"
        receipts = f"{self.receipts} receipt{'s' if self.receipts > 1 else ''}"
        return receipts if self.own else f"{receipts} of other runs: a guess"


@dataclass(frozen=True, kw_only=True)
class PricedPlan:
    """What a run would do, and at what price."""

    name: str
    store: str
    work: tuple[PlannedWork, ...]
    videos: tuple[DueVideo, ...]
    """The first fifty by name."""
    counts: Mapping[str, int]
    """Videos by reason."""
    bytes_read: int
    """Of the files that would be hashed."""
    prices: tuple[StagePrice, ...]

    @property
    def seconds(self) -> float:
        """Of the stages that can be priced."""
        return sum(price.seconds or 0.0 for price in self.prices)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Stages without an earlier receipt."""
        return tuple(price.stage for price in self.prices if price.seconds is None)

    @property
    def bytes_written(self) -> int:
        """Of the stages where it can be told."""
        return sum(price.bytes or 0 for price in self.prices)

    @property
    def words(self) -> str:
        """On one line."""
        if not self.work:
            return "up to date: nothing is to do"
        reasons = ", ".join(f"{count} {why}" for why, count in self.counts.items())
        return f"{sum(self.counts.values())} videos ({reasons or 'none'}); {self._price_in_words}"

    @property
    def _price_in_words(self) -> str:
        written = f"{self.bytes_written / 2**20:,.1f} MiB to write"
        if self.unpriced and len(self.unpriced) == len(self.prices):
            return f"how long is not known: this store has no receipt of an earlier run; {written}"
        time = f"about {self.seconds / 60:,.1f} minutes"
        if self.unpriced:
            time += f" and what {', '.join(self.unpriced)} takes, of which there is no receipt"
        return f"{time}; {written}"

    def to_json(self) -> dict[str, Any]:
        """As `--plan --json` prints it."""
        return {
            "name": self.name,
            "store": self.store,
            "work": [asdict(row) for row in self.work],
            "videos": [asdict(video) for video in self.videos],
            "counts": dict(self.counts),
            "minutes": round(self.seconds / 60, 3),
            "unpriced": list(self.unpriced),
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "stages": [asdict(price) | {"basis": price.basis} for price in self.prices],
        }


def price_run(
    session: Session, *, stages: Collection[str] = STAGES, retry: RetryFilter | None = None
) -> PricedPlan:
    """The plan of a whole run, or of some stages; `retry` has failed videos tried once more."""
    plans = plan_stages(session, retry=retry)
    work = work_of_whole(session, plans, stages=stages)
    return _priced(session, plans, work, stages=stages)


def price_refresh(session: Session, *, stages: Collection[str]) -> PricedPlan:
    """The plan of a night, which trains nothing."""
    plans = plan_stages(session)
    return _priced(
        session, plans, work_of_tables(plans), stages=[s for s in stages if s != "train"]
    )


def _priced(
    session: Session, plans: StagePlans, work: list[PlannedWork], *, stages: Collection[str]
) -> PricedPlan:
    trains = "train" in stages and plans.embed is None
    if not work:
        return _nothing(session)
    embeds = trains or plans.embed is not None
    why = "" if not embeds else MODEL if _is_of_another_model(session, plans) else LEFT
    due = due_videos(session, plans, unembedded=why)
    named = sorted(due.items())[:_NAMED]
    rates = rates_of(session.root, name=session.config.name)
    units = _units(session, plans, trains=trains)
    sizes = _sizes(session, units)
    return PricedPlan(
        name=session.config.name,
        store=session.config.store,
        work=tuple(work),
        videos=tuple(DueVideo(video_id, why) for video_id, why in named),
        counts=dict(Counter(due.values())),
        bytes_read=sum(video.bytes for video in plans.ingest.due),
        prices=tuple(
            _price(stage, count, rate=rates.get(stage), size=sizes.get(stage))
            for stage, count in units.items()
            if count and stage in stages
        ),
    )


def _nothing(session: Session) -> PricedPlan:
    return PricedPlan(
        name=session.config.name,
        store=session.config.store,
        work=(),
        videos=(),
        counts={},
        bytes_read=0,
        prices=(),
    )


def _price(stage: str, count: int, *, rate: Rate | None, size: int | None) -> StagePrice:
    return StagePrice(
        stage=stage,
        units=count,
        unit=_UNIT[stage],
        seconds=None if rate is None else round(rate.seconds(count), 3),
        receipts=0 if rate is None else rate.receipts,
        own=rate is not None and rate.own,
        bytes=size,
    )


def _is_of_another_model(session: Session, plans: StagePlans) -> bool:
    """Whether the run's tables would begin anew, though a run of its name had some."""
    if plans.embed is not None and plans.embed.target.number:
        return False
    return any(record.has_tables for record in newest_first(session.root, name=session.config.name))


def _units(session: Session, plans: StagePlans, *, trains: bool) -> dict[str, int]:
    """Units of work by stage; videos that are new or changed are taken to need all of it."""
    ingest, embed = plans.ingest, plans.embed
    fresh = max(0, ingest.new + ingest.done["changed"])
    rows = 0
    if embed is not None:
        rows = _left(embed.shards, "videos")
    elif trains:
        corpus = session.latest(session.corpus)
        rows = corpus.rows_of("videos") if corpus else 0
    return {
        "ingest": _left(ingest.shards, "videos"),
        "extract": _clips(plans.extract) + fresh,
        "audio": _clips(plans.audio) + (fresh if plans.audio else 0),
        "train": _steps(session, ingest) if trains else 0,
        "embed": rows + fresh,
        "evaluate": 1,
    }


def _clips(plan: DecodePlan | None) -> int:
    """Clips that no interrupted run has decoded."""
    return sum(len(shard.items) for shard in plan.shards) if plan else 0


def _left(shards: Collection[Any], table: str) -> int:
    """Items of shards that no interrupted run has done."""
    return sum(len(shard.items) for shard in shards if shard.table == table)


def _steps(session: Session, ingest: IngestPlan) -> int:
    """Steps of the training that is due; before the first ingest by what the corpus lists."""
    left = steps_left(session)
    if left or session.latest(session.corpus) is not None:
        return left
    options = session.config.train
    learned = sum(video.split in ("", "train") for video in ingest.due)
    pairs = ingest.captions * learned // max(len(ingest.due), 1)
    return options.epochs * (pairs // min(options.batch_size, pairs) if pairs else 0)


def _sizes(session: Session, units: Mapping[str, int]) -> dict[str, int]:
    """Bytes to write by stage, by what is kept already, or by the frames' settings."""
    frames = session.latest(session.frames)
    clip = _bytes_a_row(frames) or _bytes_of_frames(session)
    sizes = {"extract": round(clip * units["extract"])} if clip is not None else {}
    heard = session.latest(session.audio) if session.config.hears else None
    sound = _bytes_a_row(heard, table="audio")
    sizes |= {"audio": round(sound * units["audio"])} if sound is not None else {}
    tables = _last_tables(session)
    row = _bytes_a_row(tables, table="videos")
    return sizes | ({"embed": round(row * units["embed"])} if row is not None else {})


def _bytes_a_row(snapshot: Snapshot | None, *, table: str = "frames") -> float | None:
    """Bytes of all parts for each row of a table; None: there is no row."""
    rows = snapshot.rows_of(table) if snapshot else 0
    return snapshot.bytes / rows if snapshot and rows else None


def _bytes_of_frames(session: Session) -> float | None:
    """Of a clip, where the rule says how many frames are kept."""
    extract = session.config.extract
    if (
        extract.payload != "raw"
        or extract.fit == "native"
        or not Rule(**extract.sampling.model_dump()).counts
    ):
        return None
    return float(extract.sampling.count * extract.size * extract.size * 3)


def _last_tables(session: Session) -> Snapshot | None:
    """Tables of the last run of this name that has some: rows of another model are as large."""
    for record in newest_first(session.root, name=session.config.name):
        if "embeddings" in record.artifacts:
            fingerprint, _ = record.artifacts["embeddings"]
            return session.latest(session.find("embeddings", fingerprint))
    return None
