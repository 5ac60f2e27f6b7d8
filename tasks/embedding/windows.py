"""The table `windows`: rows of pieces of files, encoded from the files' own stored frames.

A window shares the frames of its file, which were decoded once. Which windows a file has is told
from its stored frames when they are encoded, so a plan goes by files: all ledger rows of a file's
windows bear its signature. A file that cannot be used has one row in the ledger, with its reason.
Columns: window_id, video_id, clip_key (of the whole file), split, outcome, start_seconds,
end_seconds, frame_count (how many were encoded), then the family's features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reelvec.configs.corpora import WindowsConfig
from reelvec.configs.schema import EmbedConfig
from reelvec.models.sampling.windows import (
    colour_changes,
    end_of_file,
    frames_within,
    spans_of,
)
from reelvec.models.spans import Span
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome, clip_key
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.embedding.encoding import encode_videos
from reelvec.tasks.embedding.rows import FileRow

__all__ = ["WindowWriter"]

_FRAMES_AT_ONCE = 256
_ROWS_AT_ONCE = 512
"""Windows encoded and written at once: memory is that of so many, however long a film is."""


class WindowWriter:
    """Makes the rows of files' windows, piece by piece.

    Args:
        encoder: of the run.
        reader: of the stored frames; its shards are closed after each piece, so that what is
            mapped of a long film does not add up.
        embed: element type and batches.
        windows: how files are cut.

    Attributes:
        outcomes: ledger rows of what was made so far.
    """

    def __init__(
        self, encoder: Encoder, reader: FrameReader, *, embed: EmbedConfig, windows: WindowsConfig
    ) -> None:
        self._encoder, self._reader = encoder, reader
        self._embed, self._windows = embed, windows
        self.outcomes: list[Outcome] = []

    def pieces(self, files: Sequence[FileRow]) -> Iterator[pa.Table]:
        """Rows of the files, in their order; the first piece is empty, for the columns."""
        yield self._encoded([], file=None, times=np.zeros(0))
        for file in files:
            if file.status == Status.QUARANTINED:
                self.outcomes.append(_outcome(file.key, file))
                continue
            times = np.array(self._reader.pts(file.clip_key))
            spans = self._spans(file, times)
            for start in range(0, len(spans), _ROWS_AT_ONCE):
                some = spans[start : start + _ROWS_AT_ONCE]
                yield self._encoded(some, file=file, times=times)
                self.outcomes += [_outcome(_key(file, span), file) for span in some]
                self._reader.close()

    def _spans(self, file: FileRow, times: npt.NDArray[np.float64]) -> list[Span]:
        by_shots = self._windows.by == "shots"
        changes = colour_changes(self._blocks(file.clip_key, len(times))) if by_shots else None
        end = end_of_file(times, declared=file.end_seconds)
        return spans_of(times, end=end, options=self._windows, changes=changes)

    def _blocks(self, key: str, count: int) -> Iterator[npt.NDArray[np.uint8]]:
        for start in range(0, count, _FRAMES_AT_ONCE):
            picks = np.arange(start, min(start + _FRAMES_AT_ONCE, count))
            block = self._reader.clip(key, picks).frames
            self._reader.close()
            yield block

    def _encoded(
        self, spans: Sequence[Span], *, file: FileRow | None, times: npt.NDArray[np.float64]
    ) -> pa.Table:
        keys = [_key(file, span) for span in spans] if file else []
        source = _WindowFrames(
            self._reader,
            clip=file.clip_key if file else "",
            places={k: frames_within(times, s) for k, s in zip(keys, spans, strict=True)},
        )
        features = encode_videos(self._encoder, source, keys, options=self._embed)
        said = (file.video_id, file.clip_key, file.split, file.status) if file else ("",) * 4
        names = ("video_id", "clip_key", "split", "outcome")
        columns = {"window_id": pa.array(keys, pa.string())}
        columns |= {
            n: pa.array([v] * len(keys), pa.string()) for n, v in zip(names, said, strict=True)
        }
        columns["start_seconds"] = pa.array([span.start for span in spans], pa.float64())
        columns["end_seconds"] = pa.array([span.end for span in spans], pa.float64())
        columns["frame_count"] = pa.array(features.pop("frames_used"), pa.int32())
        return pa.table(columns | features)


def _key(file: FileRow, span: Span) -> str:
    return clip_key(file.clip_key, start_seconds=span.start, end_seconds=span.end)


def _outcome(key: str, file: FileRow) -> Outcome:
    return Outcome(
        key,
        status=file.status,
        reason=file.reason,
        message=file.message,
        detail=file.signature,
    )


class _WindowFrames:
    """Windows of one clip as the encoder takes clips (`FrameSource`)."""

    def __init__(
        self, reader: FrameReader, *, clip: str, places: dict[str, tuple[int, int]]
    ) -> None:
        self._reader, self._clip, self._places = reader, clip, places

    def ahead(self, keys: Sequence[str]) -> None:
        """Nothing to do: they are here."""

    def lengths(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Stored frames of each window, int64 [V]."""
        return np.array([len(range(*self._places[key])) for key in keys], np.int64)

    def picture(self, key: str) -> tuple[int, int]:
        """Of the file."""
        del key
        return self._reader.picture(self._clip)

    def gather(
        self,
        keys: Sequence[str],
        *,
        picks: Sequence[npt.NDArray[np.int64]],
        out: npt.NDArray[np.uint8],
    ) -> None:
        """The picked frames of each window, the rest zero."""
        places = [self._places[key][0] + some for key, some in zip(keys, picks, strict=True)]
        self._reader.gather([self._clip] * len(keys), picks=places, out=out)

    def clip(self, key: str, picks: npt.NDArray[np.int64]) -> ClipFrames:
        """The picked frames of a window, as they are stored."""
        whole = self._reader.clip(self._clip, self._places[key][0] + picks)
        return replace(whole, clip_key=key)
