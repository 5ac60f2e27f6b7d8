"""What a report says, as plain facts: the border between reading a store and drawing a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reelvec.models.ranking.moments import MomentMetric
from reelvec.tasks.scoring.paired import PairedMetric
from reelvec.tasks.scoring.rows import CoverageRow, MetricRow

__all__ = [
    "AnsweredQuery",
    "Beside",
    "Failure",
    "KeptFrames",
    "Query",
    "QuerySet",
    "Ranks",
    "ReportContents",
    "Shown",
    "StageCost",
]


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What one stage of the run took; `counts` is what the stage said of itself."""

    name: str
    seconds: float
    counts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video that was quarantined, or salvaged up to its damage."""

    video_id: str
    path: str
    split: str
    status: str
    reason: str
    message: str
    """The decoder's own words."""
    stage: str
    detail: str = ""
    jpeg: bytes = b""
    """A frame of it, where one can be had."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One video of a gallery row."""

    video_id: str
    rank: float
    score: float
    true: bool
    jpeg: bytes
    """Frames side by side; b"" where the frame store does not hold them."""
    frame_count: int
    """How many frames the strip shows."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A caption and what the system answered."""

    caption_id: str
    text: str
    subset: str
    rank: float
    videos: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweredQuery:
    """A query of the evaluation, or a video with those nearest to it: a line of the list."""

    query_id: str
    text: str
    """Lines, of several captions."""
    video_id: str
    """Of its right answer, or the video itself."""
    rank: float | None = None
    """Of the right answer; None: nothing was asked."""
    score: float | None = None
    best: tuple[tuple[str, float], ...] = ()
    """Videos ranked first, with their scores."""
    before: float | None = None
    """The rank that the run it is compared with gave it; None: it has not scored it."""


@dataclass(frozen=True, kw_only=True)
class QuerySet:
    """All queries of one direction."""

    direction: str
    """t2v, v2t, or near: videos, where nothing was asked."""
    rows: tuple[AnsweredQuery, ...]
    unit: str = ""
    """Of the scores."""
    left_out: int = 0
    """Queries too many for a page."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The run a report compares with."""

    name: str
    metrics: tuple[PairedMetric, ...]
    """Over the queries both have."""
    note: str = ""
    """Why there is nothing to compare, or what a reader must know."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Ranks of all queries of one direction, for the curves."""

    direction: str
    ranks: tuple[float, ...]
    candidates: int


@dataclass(frozen=True, kw_only=True)
class KeptFrames:
    """What a policy that chooses frames (AdaCLIP's) has chosen."""

    videos: int
    counts: tuple[int, ...]
    """Of how many videos the frame at each place was kept; places are those of the given frames."""


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """Everything on the page, in its order."""

    title: str
    subtitle: str
    made: str
    """When the run started and ended; the only thing that differs between equal runs."""
    notes: tuple[str, ...] = ()
    """Warnings first: shown above the numbers."""
    metrics: tuple[MetricRow, ...] = ()
    moments: tuple[MomentMetric, ...] = ()
    """Empty: no windows, or no captions of pieces."""
    published: Mapping[str, float] = field(default_factory=dict)
    """{"t2v/R@1": 44.5, …}"""
    published_source: str = ""
    ranks: tuple[Ranks, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    """One mapping an epoch: epoch, loss, R@1 (percent, on the selection split) where known."""
    curve: tuple[Mapping[str, float], ...] = ()
    """One mapping a step: step, loss, grad_norm, lr_clip, lr_other, where known."""
    kept_frames: KeptFrames | None = None
    best_epoch: int = 0
    """Marked in the curve; 0: none."""
    selection_split: str = ""
    stages: tuple[StageCost, ...] = ()
    coverage: tuple[CoverageRow, ...] = ()
    failures: tuple[Failure, ...] = ()
    gallery: tuple[tuple[str, tuple[Query, ...]], ...] = ()
    """(heading, queries)"""
    beside: Beside | None = None
    """None: it is compared with nothing."""
    queries: tuple[QuerySet, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """Video id -> a frame of it, as JPEG."""
    provenance: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """(group, ((label, value), …))"""
    identities: tuple[tuple[str, str], ...] = ()
    """(artifact, its identity as JSON)"""
