"""Windows as answers: which file and when, of those that overlap in time the best alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reelvec.models.sampling.windows import frames_within
from reelvec.models.spans import Span, apart
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import derive
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Video
from reelvec.storage.tables import iter_tables
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.searching.search import Ranking, SearchRow
from reelvec.tasks.searching.sorted_rows import SortedRows, write_sorted

__all__ = ["Window", "WindowsById", "best_apart", "window_row", "with_best_second"]

_SCHEMA = pa.schema(
    [
        pa.field("window_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("clip_key", pa.string()),
        pa.field("split", pa.string()),
        pa.field("start_seconds", pa.float64()),
        pa.field("end_seconds", pa.float64()),
    ]
)
_MORE = 4
"""So many times the windows that are wanted are ranked at first, and again where too few stay."""


@dataclass(frozen=True, slots=True)
class Window:
    """A row of the table `windows`, without its vectors."""

    window_id: str
    video_id: str
    clip_key: str
    """Of the whole file, whose frames it shares."""
    split: str
    start_seconds: float
    end_seconds: float

    @property
    def span(self) -> Span:
        """When it is."""
        return Span(self.start_seconds, self.end_seconds)


class WindowsById:
    """The windows of a table at one snapshot, looked up in a mapped file."""

    def __init__(self, embeddings: Snapshot) -> None:
        def make(folder: Path) -> Mapping[str, Any]:
            columns = _SCHEMA.names
            pieces = [
                piece.replace_schema_metadata(None).cast(_SCHEMA)
                for piece in iter_tables(embeddings, WINDOWS, columns=columns)
            ]
            write_sorted(folder / "rows.arrow", pa.concat_tables([_SCHEMA.empty_table(), *pieces]))
            return {}

        self._rows = SortedRows(derive(embeddings, what=WINDOWS, make=make).folder / "rows.arrow")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, window_id: str) -> Window:
        row = self._rows.find(window_id)
        if row is None:
            raise KeyError(window_id)
        return Window(**self._rows.table.slice(row, 1).to_pylist()[0])


def best_apart(
    rank: Callable[[int], Ranking], *, windows: WindowsById, top: int
) -> tuple[Ranking, list[Window]]:
    """The `top` best windows of which none overlaps a better one.

    Args:
        rank: gives the so many best windows, overlapping ones among them.
        windows: says when they are.
        top: at least 1.

    Returns:
        Keys and scores, and the windows themselves, best first.
    """
    wanted = _MORE * top
    while True:
        ranking = rank(wanted)
        found = [windows[key] for key, _ in ranking.best]
        places = apart(((one.clip_key, one.span) for one in found), top=top)
        if len(places) == top or len(found) < wanted:
            best = [ranking.best[place] for place in places]
            kept = replace(ranking, best=best)
            return kept, [found[place] for place in places]
        wanted *= _MORE


def window_row(
    rank: int, score: float, window: Window, *, video: Video | None, reader: FrameReader | None
) -> SearchRow:
    """One answer.

    Args:
        rank: from 1.
        score: of the window.
        window: what was found.
        video: of the corpus, of its id; None: it has left it.
        reader: says when the stored frames are; None leaves the times out.
    """
    times: tuple[float, ...] = ()
    if reader is not None and window.clip_key in reader:
        all_times = reader.pts(window.clip_key)
        first, stop = frames_within(all_times, window.span)
        times = tuple(all_times[first:stop].tolist())
    return SearchRow(
        rank=rank,
        score=score,
        video_id=window.video_id,
        path=video.path if video is not None else "",
        split=window.split,
        start_seconds=window.start_seconds,
        end_seconds=window.end_seconds,
        frames=len(times),
        pts_seconds=times,
    )


def with_best_second(
    row: SearchRow,
    *,
    video: Video | None,
    reader: FrameReader,
    nearest: Callable[[ClipFrames], int],
) -> SearchRow:
    """The row of a window with the time of its best frame; as it is where its frames are gone.

    Args:
        row: of a window.
        video: its file.
        reader: of the stored frames.
        nearest: which frame of a clip is the best.
    """
    if video is None or video.content_hash not in reader:
        return row
    times = reader.pts(video.content_hash)
    first, stop = frames_within(times, Span(row.start_seconds, row.end_seconds))
    best = nearest(reader.clip(video.content_hash, np.arange(first, stop)))
    return replace(row, best_seconds=float(times[first + best]))
