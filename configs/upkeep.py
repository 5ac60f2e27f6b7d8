"""How tables are kept as they grow, and what new ones must be like to take the place of others."""

from __future__ import annotations

from pydantic import Field

from reelvec.configs.corpora import Options

__all__ = ["CompactionConfig", "GateConfig"]


class CompactionConfig(Options):
    """When `reembed` merges parts that have become small or hollow, and how many in one night."""

    least_parts: int = Field(default=16, ge=2)
    """Small parts of a table side by side that are merged into one; fewer wait for more."""
    small_mb: float = Field(default=16.0, gt=0)
    """A part below it is small, MiB."""
    superseded: float = Field(default=0.5, ge=0, lt=1)
    """A part of which a larger share is superseded is written anew without it, small or not."""
    target_mb: float = Field(default=256.0, gt=0)
    """Merged parts do not grow beyond it, MiB."""
    limit_mb: float = Field(default=1024.0, ge=0)
    """MiB read and written anew by one reembed, the rest waits; 0: nothing is ever merged."""


class GateConfig(Options):
    """What new tables must be like, beside those that `current` stands for, to take their place."""

    nightly: bool = True
    """The nightly moves `current` to what it made only through the gate; false: in any case."""
    recall_at: int = Field(default=5, ge=1)
    """The k of R@k, text to video, over the captions that both tables have."""
    max_recall_drop: float = Field(default=2.0, ge=0, le=100)
    """R@k may fall by so much, percentage points; how sure the fall is, is shown beside it."""
    max_lost_fraction: float = Field(default=0.02, ge=0, le=1)
    """Of the usable videos that the corpus still names, so many may have no row any more."""
    neighbours: int = Field(default=10, ge=1)
    """The k nearest videos of a video that are compared."""
    min_overlap: float = Field(default=0.1, ge=0, le=1)
    """At least such a part of them must stay, on average, under another model."""
    min_overlap_same: float = Field(default=0.8, ge=0, le=1)
    """The same where the model is the same, as in the nightly."""
    norm_tolerance: float = Field(default=0.02, gt=0)
    """How far the length of a vector may be from 1."""
    probes: int = Field(default=2000, ge=1)
    """At most so many captions are asked, and a tenth as many videos for their neighbours."""
