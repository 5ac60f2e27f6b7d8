"""Every query of an evaluation for the page, and a picture of each video that it names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import numpy as np

from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.tables import iter_tables
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.reports.rendering.contents import AnsweredQuery, Beside, QuerySet
from reelvec.tasks.reports.rendering.gallery import picture_jpeg
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.scoring.paired import paired_metrics, paired_ranks
from reelvec.tasks.scoring.split_rows import MissingColumnError
from reelvec.tasks.searching.vectors import VectorIndex

__all__ = ["beside_of", "pictures_of", "query_sets_of"]

MOST_QUERIES = 100_000
"""Of a direction: more make a page that no browser opens."""
MOST_VIDEOS = 2000
"""With their nearest, where nothing was asked."""
NEAREST = 5
PICTURE_BYTES = 4_000_000
"""Of all pictures; what comes after has none."""

Before = Mapping[int, float]
_TABLES = {"t2v": "ranks", "v2t": "video_ranks"}


def query_sets_of(sources: ReportSources) -> tuple[QuerySet, ...]:
    """The queries of both directions; where nothing was asked, videos and those nearest to them."""
    tables = sources.evaluation.tables
    found = [_query_set(sources, name) for name in _TABLES if _TABLES[name] in tables]
    if found:
        return tuple(found)
    with suppress(MissingColumnError):
        return (_nearest(sources),)
    return ()


def _query_set(sources: ReportSources, direction: str) -> QuerySet:
    pieces = iter_tables(sources.evaluation, _TABLES[direction])
    rows = (row for piece in pieces for row in piece.to_pylist())
    texts = {}
    if direction == "t2v":
        texts = {caption.caption_id: caption.text for caption in sources.corpus.captions}
    before = _before(sources, direction)
    some = itertools.islice(enumerate(rows), MOST_QUERIES)
    queries = tuple(_query(row, texts=texts, before=before.get(place)) for place, row in some)
    left_out = sum(1 for _ in rows)
    return QuerySet(direction=direction, rows=queries, unit="logit", left_out=left_out)


def _query(
    row: Mapping[str, Any], *, texts: Mapping[str, str], before: float | None
) -> AnsweredQuery:
    best = zip(row.get("top_video_ids") or (), row.get("top_scores") or (), strict=True)
    query_id = row.get("caption_id", row["video_id"])
    return AnsweredQuery(
        query_id=query_id,
        text=texts.get(query_id, ""),
        video_id=row["video_id"],
        rank=row["rank"],
        score=row.get("score"),
        best=tuple(best),
        before=before,
    )


def _before(sources: ReportSources, direction: str) -> Before:
    """Row of the table -> the rank that the other run gave the same query."""
    if sources.against is None or sources.against.evaluation is None:
        return {}
    ranks = paired_ranks(sources.against.evaluation, sources.evaluation, direction=direction)
    if ranks is None:
        return {}
    return dict(zip(ranks.rows.tolist(), ranks.old.tolist(), strict=True))


def _nearest(sources: ReportSources) -> QuerySet:
    """Videos of the table in the corpus' order, each with the others nearest to it."""
    index = VectorIndex.of(sources.embeddings)
    videos = [v for v in sources.corpus.videos if index.rows.find(v.video_id) is not None]
    rows = []
    for video in videos[:MOST_VIDEOS]:
        vector = index.vector(video.video_id)
        best: list[tuple[str, float]] = []
        if vector is not None:
            (ranking,) = index.best(vector, top=NEAREST, without=video.video_id)
            best = ranking.best
        rows.append(
            AnsweredQuery(
                query_id=video.video_id, text=video.path, video_id=video.video_id, best=tuple(best)
            )
        )
    left_out, unit = max(0, len(videos) - MOST_VIDEOS), dot_product().unit
    return QuerySet(direction="near", rows=tuple(rows), unit=unit, left_out=left_out)


def beside_of(sources: ReportSources) -> Beside | None:
    """How the run it is compared with did on the same queries; None: it is compared with none."""
    against = sources.against
    if against is None:
        return None
    if against.evaluation is None:
        return Beside(name=against.name, metrics=(), note="it is not scored (`reelvec evaluate`)")
    metrics = tuple(paired_metrics(against.evaluation, sources.evaluation))
    note = "" if metrics else "no query is scored in both"
    if metrics and against.candidates != sources.candidates:
        note = (
            f"{against.name} ranks {against.candidates:,} videos and this run"
            f" {sources.candidates:,}: among fewer a right one is found more easily"
        )
    return Beside(name=against.name, metrics=metrics, note=note)


def pictures_of(sources: ReportSources, sets: Iterable[QuerySet]) -> dict[str, bytes]:
    """A frame of each video that a query names, as far as their bytes fit a page."""
    named = set(_videos_in(sets))
    made: dict[str, bytes] = {}
    left = PICTURE_BYTES
    with closing(FrameReader(sources.frames, few=True)) as reader:
        for video in sources.corpus.videos:
            key = key_of(video)
            if video.video_id not in named or key not in reader:
                continue
            frames = reader.frames(key)
            jpeg = picture_jpeg(np.asarray(frames[len(frames) // 2]))
            left -= len(jpeg)
            if left < 0:
                break
            made[video.video_id] = jpeg
    return made


def _videos_in(sets: Iterable[QuerySet]) -> Iterator[str]:
    for one in sets:
        for row in one.rows:
            yield row.video_id
            yield from (video for video, _ in row.best)
