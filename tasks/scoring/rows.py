"""Rows of an evaluation's tables: one number, and the counts of one split."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

__all__ = ["CoverageRow", "MetricRow"]


@dataclass(frozen=True, kw_only=True, repr=False)
class MetricRow:
    """One number. Recalls are percent; ranks count from 1; `low`, `high` bound 95 %."""

    direction: str
    """t2v or v2t."""
    protocol: str
    """single or multi (captions a video); `+name` for a re-ranking."""
    subset: str
    """"" for all."""
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Queries."""
    published: float | None = None
    """What the preset's source says it should be; None: it says nothing of it."""

    def __repr__(self) -> str:
        """For a person, two digits behind the point; the fields keep every one."""
        values = {slot.name: getattr(self, slot.name) for slot in dataclasses.fields(self)}
        shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in values.items()}
        return f"MetricRow({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """Videos and captions of one split; planned = ok + salvaged + quarantined."""

    split: str
    planned: int
    ok: int
    salvaged: int
    quarantined: int
    with_captions: int
    """Usable videos with at least one caption."""
    captions: int
    captions_scored: int
    """Captions of usable videos."""
    scored: bool
    """Whether this is the split the metrics are about."""
