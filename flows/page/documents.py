"""What the page is told, as plain values: runs, answers, queries of an evaluation, failures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

import reelvec
from reelvec.errors import RequestError
from reelvec.flows.page.open_runs import OpenRun
from reelvec.storage.file_marks import FileMark
from reelvec.storage.reasons import Status
from reelvec.storage.records import Video
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.corpus.ledger import LedgerRow, counts, failures
from reelvec.tasks.reports.pictures import may_be_seen
from reelvec.tasks.searching.search import Answers

__all__ = [
    "PLAYED",
    "Document",
    "about_run",
    "about_store",
    "answers",
    "checked",
    "failed",
    "finite",
    "once",
    "queries",
    "ranked",
    "shown_of",
]

PLAYED = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
}
"""Suffixes of files a browser may play, and their types; of others the page shows frames."""
_FAILURES = 500
_EXAMPLES, _LONGEST_EXAMPLE, _LOOKED_AT = 3, 80, 1000

T = TypeVar("T")
Document = dict[str, Any]


def once(opened: OpenRun, name: str, make: Callable[[], T]) -> T:
    """What `make` gives, computed once for the run's snapshots."""
    if name not in opened.made:
        opened.made[name] = make()
    return cast("T", opened.made[name])


def about_store(store: reelvec.Store) -> Document:
    """The runs that have tables, the last first: by name as they are now, others as they ended."""
    seen: set[str] = set()
    runs = []
    for run in reversed([run for run in store.runs() if run.has_tables]):
        named = run.name not in seen
        seen.add(run.name)
        runs.append(
            {
                "run": run.name if named else run.identifier,
                "name": run.name,
                "ended": (run.ended or run.started).isoformat(" ", "minutes")[:16],
                "now": named,
            }
        )
    return {"store": store.uri, "runs": runs}


def about_run(opened: OpenRun) -> Document:
    """What the page shows of a run before anything is asked."""
    run = opened.run
    tables = run.tables
    metrics = [asdict(row) for row in run.metrics()] if "metrics" in tables else []
    moments = run.table("moments").arrow().to_pylist() if "moments" in tables else []
    coverage = run.table("coverage").arrow().to_pylist() if "coverage" in tables else []
    return {
        "state": opened.state,
        "name": run.name,
        "identifier": run.identifier,
        "model": f"{run.config.model.family} {run.config.model.architecture}",
        "videos": len(run.videos),
        "splits": list(opened.search.splits),
        "similar": "embedding" in run.videos.columns,
        "scored": "ranks" in tables,
        "split": run.config.evaluate.split,
        "metrics": [_finite(row) for row in metrics],
        "moments": [_finite(row) for row in moments],
        "examples": once(opened, "examples", lambda: _examples(run)),
        "coverage": coverage,
        "counts": once(opened, "failures", lambda: _failures(opened))["counts"],
    }


def _examples(run: reelvec.Run) -> list[str]:
    """Captions of different videos to search by, of the scored split if it has any."""
    if "captions" not in run.tables:
        return []
    for split in (run.config.evaluate.split, None):
        pieces = run.captions.batches(["video_id", "text"], split=split)
        rows = itertools.chain.from_iterable(piece.to_pylist() for piece in pieces)
        some = list(itertools.islice(rows, _LOOKED_AT))
        if some:
            break
    texts = {row["video_id"]: row["text"] for row in some if len(row["text"]) <= _LONGEST_EXAMPLE}
    found = list(dict.fromkeys(texts.values()))
    return found[:: max(1, len(found) // _EXAMPLES)][:_EXAMPLES]


def answers(opened: OpenRun, found: Answers) -> Document:
    """The rows of a search, with what can be shown of each video."""
    rows = []
    for row in found.rows:
        shown = shown_of(opened, row.video_id)
        if opened.search.searcher.table == "windows":
            length = row.end_seconds - row.start_seconds
            shown |= {"start": row.start_seconds, "end": row.end_seconds, "seconds": length}
            shown["moment"] = True
        rows.append(shown | {"rank": row.rank, "score": row.score})
    return {"state": opened.state, "unit": found.unit, "notes": list(found.notes), "rows": rows}


def shown_of(opened: OpenRun, video_id: str) -> Document:
    """Where a video is, whether its clip can be played and whether frames of it are stored.

    `start` and `end` are of a clip within a file of `whole` seconds; `end` is 0 where the file is
    the clip. `moment`: they are of a window that was found in the video.
    """
    searcher = opened.search.searcher
    video = searcher.videos.find(video_id) or Video(video_id, "")
    name = PurePath(video.path).name
    start, end = video.start_seconds or 0.0, video.end_seconds or 0.0
    return {
        "video_id": video_id,
        "file": name,
        "path": video.path,
        "split": video.split,
        "start": start,
        "end": end,
        "seconds": (end - start) if end else video.duration_seconds_from_header,
        "whole": video.duration_seconds_from_header,
        "moment": False,
        "plays": _plays(video),
        "pictured": searcher.frames is not None and key_of(video) in searcher.frames,
    }


def _plays(video: Video) -> bool:
    """Whether a browser may play it, and its file is the one that was embedded."""
    if PurePath(video.path).suffix.lower() not in PLAYED:
        return False
    return bool(video.bytes) and FileMark.at(video.path).agrees(video.mark)


def queries(
    opened: OpenRun, table: pa.Table, *, order: str, contains: str, offset: int, limit: int
) -> Document:
    """Some of the evaluation's queries.

    Args:
        opened: the run.
        table: `ranked` queries, or `comparing.beside` another run's.
        order: best or worst first; with `before`: gained or lost, those that rose or fell alone.
        contains: only queries with these letters in text or id; "": all.
        offset: rows left out at the start.
        limit: rows at most.
    """
    if contains:
        table = table.filter(_holds(table, contains))
    table = _ordered(table, order)
    shown = table.slice(offset, limit).to_pylist()
    for row in shown:
        ids = dict.fromkeys([row["video_id"], *(row.get("top_video_ids") or ())])
        row["videos"] = {name: shown_of(opened, name) for name in ids}
        row |= {name: finite(row.get(name)) for name in ("rank", "score", "before")}
        row["top_scores"] = [finite(score) for score in row.get("top_scores") or ()]
    return {"state": opened.state, "total": table.num_rows, "unit": "logit", "rows": shown}


def _ordered(table: pa.Table, order: str) -> pa.Table:
    """Equal ones by their id."""
    key, how = "rank", "ascending" if order == "best" else "descending"
    if order in ("gained", "lost"):
        rise = pc.subtract(table.column("before"), table.column("rank"))
        table = table.append_column("rise", rise)
        key, how = "rise", "descending" if order == "gained" else "ascending"
        table = table.filter((pc.greater if order == "gained" else pc.less)(rise, 0))
    rows = pc.sort_indices(table, sort_keys=[(key, how), (table.column_names[0], "ascending")])
    return table.take(rows)


def _holds(table: pa.Table, words: str) -> pa.ChunkedArray:
    """Whether a row's text or id has these letters, in any case."""
    masks = [
        pc.match_substring(table.column(name), words, ignore_case=True)
        for name in ("text", "video_id")
    ]
    return pc.or_(*masks)


def ranked(opened: OpenRun, direction: str) -> pa.Table:
    """The queries of a direction with their texts and ranks: t2v, captions; v2t, videos.

    Raises:
        MissingArtifactError: the run is not scored.
    """
    return once(opened, f"queries {direction}", lambda: _ranked(opened.run, direction))


def _ranked(run: reelvec.Run, direction: str) -> pa.Table:
    """Ranks with their texts; of v2t a video's captions, one a line."""
    captions = run.captions.arrow(["caption_id", "video_id", "text"])
    captions = captions.replace_schema_metadata(None)
    if direction == "t2v":
        ranks = run.table("ranks").arrow().replace_schema_metadata(None)
        place = pc.index_in(ranks.column("caption_id"), value_set=captions.column("caption_id"))
        texts = pc.fill_null(captions.column("text").take(place), "")
        return ranks.append_column("text", texts).combine_chunks()
    ranks = run.table("video_ranks").arrow().replace_schema_metadata(None)
    texts_of: dict[str, list[str]] = {}
    wanted = pc.is_in(captions.column("video_id"), value_set=ranks.column("video_id"))
    for row in captions.filter(wanted).to_pylist():
        texts_of.setdefault(row["video_id"], []).append(row["text"])
    lines = ["\n".join(texts_of.get(name, ())) for name in ranks.column("video_id").to_pylist()]
    return ranks.append_column("text", pa.array(lines, pa.string())).combine_chunks()


def failed(opened: OpenRun) -> Document:
    """Counts of what became of the videos, and those a person should look at, with reasons."""
    made: Mapping[str, Any] = once(opened, "failures", lambda: _failures(opened))
    return {"state": opened.state, **made}


def _failures(opened: OpenRun) -> Document:
    rows = opened.run.ledger()
    found = failures(rows)
    return {
        "counts": counts(rows).to_json(),
        "total": len(found),
        "rows": [_failure(opened, row) for row in itertools.islice(found, _FAILURES)],
    }


def _failure(opened: OpenRun, row: LedgerRow) -> Document:
    """A row of the ledger; `seen`: whether a picture of the video is worth asking for."""
    keys = ("video_id", "path", "split", "stage", "status", "reason", "message")
    video = opened.search.searcher.videos.find(row.video_id)
    seen = row.status == Status.SALVAGED or (video is not None and may_be_seen(video, row.reason))
    return {**{key: getattr(row, key) for key in keys}, "seen": seen}


def _finite(row: Mapping[str, Any]) -> Document:
    return {name: finite(value) for name, value in row.items()}


def finite(value: object) -> object:
    """JSON has neither NaN nor infinity: these become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def checked(name: str, value: str, *, allowed: tuple[str, ...]) -> str:
    """A parameter that is one of some words.

    Raises:
        RequestError: it is another.
    """
    if value not in allowed:
        raise RequestError(f"{name} ({value:.80}) must be {' or '.join(allowed)}")
    return value
