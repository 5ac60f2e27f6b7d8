"""Which queries a report shows, and the frames of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.tables import read_table
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.reports.rendering.contents import Query, Shown
from reelvec.tasks.reports.rendering.gallery import STRIP_FRAMES, strip_jpeg
from reelvec.tasks.reports.sources import ReportSources

__all__ = ["choose_queries", "gallery_of"]

EACH = 4
"""Queries of each kind."""
NEAR = 10
"""Ranks up to this are close."""

Row = Mapping[str, Any]
Gallery = tuple[tuple[str, tuple[Query, ...]], ...]


def gallery_of(sources: ReportSources) -> Gallery:
    """Queries found first, found close, and missed, with strips of their five best videos."""
    if "ranks" not in sources.evaluation.tables:
        return ()
    rows = read_table(sources.evaluation, "ranks").to_pylist()
    texts = {caption.caption_id: caption.text for caption in sources.corpus.captions}
    strips = _Strips(sources)
    try:
        return tuple(
            (heading, tuple(_query(row, texts[row["caption_id"]], strips) for row in chosen))
            for heading, chosen in choose_queries(rows)
        )
    finally:
        strips.close()


def choose_queries(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """A few queries of each kind, a video once a kind; the same rows give the same choice."""
    first = sorted(
        (r for r in rows if r["rank"] <= 1), key=lambda r: (-_margin(r), r["caption_id"])
    )
    late = sorted((r for r in rows if r["rank"] > 1), key=lambda r: (r["rank"], r["caption_id"]))
    near = [r for r in late if r["rank"] <= NEAR]
    near = _one_a_video(near)
    taken = {r["caption_id"] for r in near}
    far = _one_a_video([r for r in reversed(late) if r["caption_id"] not in taken])
    return [
        ("Found first, by the widest margin", _one_a_video(first)),
        ("Close", near),
        ("Furthest off", far),
    ]


def _margin(row: Row) -> float:
    """How far the true video is ahead of the best other one."""
    others = [
        score
        for video, score in zip(row["top_video_ids"], row["top_scores"], strict=True)
        if video != row["video_id"]
    ]
    return row["score"] - max(others) if others else 0.0


def _one_a_video(rows: Sequence[Row]) -> list[Row]:
    seen: dict[str, Row] = {}
    for row in rows:
        seen.setdefault(row["video_id"], row)
        if len(seen) == EACH:
            break
    return list(seen.values())


def _query(row: Row, text: str, strips: _Strips) -> Query:
    shown = [
        strips.shown(video, rank=place, score=score, true=video == row["video_id"])
        for place, (video, score) in enumerate(
            zip(row["top_video_ids"], row["top_scores"], strict=True), start=1
        )
    ]
    if row["video_id"] not in row["top_video_ids"]:
        late = strips.shown(row["video_id"], rank=row["rank"], score=row["score"], true=True)
        shown.append(late)
    return Query(
        caption_id=row["caption_id"],
        text=text,
        subset=row["subset"],
        rank=row["rank"],
        videos=tuple(shown),
    )


class _Strips:
    """Strips of videos by id, each read once."""

    def __init__(self, sources: ReportSources) -> None:
        self._keys = {video.video_id: key_of(video) for video in sources.corpus.videos}
        self._reader = FrameReader(sources.frames, few=True)
        self._made: dict[str, tuple[bytes, int]] = {}

    def shown(self, video_id: str, *, rank: float, score: float, true: bool) -> Shown:
        if video_id not in self._made:
            self._made[video_id] = self._strip(self._keys.get(video_id, ""))
        jpeg, frame_count = self._made[video_id]
        return Shown(
            video_id=video_id, rank=rank, score=score, true=true, jpeg=jpeg, frame_count=frame_count
        )

    def _strip(self, key: str) -> tuple[bytes, int]:
        if key not in self._reader:
            return b"", 0
        frames = self._reader.frames(key)
        count = min(len(frames), STRIP_FRAMES)
        picks = np.linspace(0, len(frames) - 1, count).round().astype(np.int64)
        return strip_jpeg(frames[picks]), count

    def close(self) -> None:
        self._reader.close()
