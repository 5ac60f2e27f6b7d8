"""The captions of each video, looked up in a file: memory does not grow with their text."""

from __future__ import annotations

import bisect
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reelvec.tasks.exports.source import ExportSource

__all__ = ["CaptionsByVideo", "captions_by_video"]


class CaptionsByVideo:
    """Captions in the order of their table.

    Args:
        rows: with a column `video_id`, mapped from a file; None: there are none.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._order = pc.sort_indices(rows.column("video_id"))
        self._owners = rows.column("video_id").take(self._order)

    def of(self, video_id: str) -> pa.Table:
        """The rows of one video; none where it has no caption."""
        places = range(len(self._owners))
        first, stop = (
            find(places, video_id, key=lambda row: self._owners[row].as_py())
            for find in (bisect.bisect_left, bisect.bisect_right)
        )
        return self._rows.take(self._order.slice(first, stop - first))

    def texts(self, video_id: str) -> list[str]:
        """What they say."""
        words: list[str] = self.of(video_id).column("text").to_pylist()
        return words


@contextmanager
def captions_by_video(
    source: ExportSource, columns: Sequence[str] = ("caption_id", "text")
) -> Iterator[CaptionsByVideo]:
    """Captions with these columns; the temporary file goes when the block ends."""
    names = list(dict.fromkeys(["video_id", *columns]))
    if "captions" not in source.tables:
        texts = {name: pa.array([], pa.string()) for name in names}
        yield CaptionsByVideo(pa.table(texts))
        return
    schema = pa.schema([source.schema("captions").field(name) for name in names])
    with tempfile.TemporaryDirectory(prefix="reelvec-captions-") as folder:
        path = Path(folder) / "captions.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for rows in source.rows("captions", names):
                writer.write_table(rows)
        with pa.memory_map(str(path)) as mapped:
            yield CaptionsByVideo(pa.ipc.open_file(mapped).read_all())
