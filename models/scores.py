"""The kinds of scores that families have, each with a family that has it, cheapest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SCORES", "ScoreKind"]


@dataclass(frozen=True, kw_only=True)
class ScoreKind:
    """How videos are compared with a query."""

    name: str
    family: str
    options: Mapping[str, Any] = field(default_factory=dict)
    looks_at_query: bool = True
    """Whether what a video is compared by depends on the query; else it is one vector."""
    slow: bool = False
    """Whether it takes a forward pass for every pair."""


SCORES = (
    ScoreKind(name="dot product", family="clip4clip", looks_at_query=False),
    ScoreKind(name="CLIP2Video, two dot products", family="clip2video", looks_at_query=False),
    ScoreKind(name="AdaCLIP qscore", family="adaclip", options={"frame_agg": "qscore"}),
    ScoreKind(name="X-Pool, folded", family="xpool"),
    ScoreKind(name="TS2-Net", family="ts2net"),
    ScoreKind(name="DRL wti", family="drl"),
    ScoreKind(name="X-CLIP", family="xclip"),
    ScoreKind(name="UCoFiA", family="ucofia"),
    ScoreKind(
        name="tightTransf, a pass a pair",
        family="clip4clip",
        options={"sim_header": "tightTransf"},
        slow=True,
    ),
)
