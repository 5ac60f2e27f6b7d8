"""WebDataset: tar files, a sample a video, with its frames, captions and vectors."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reelvec.storage.frames.reader import FrameReader
from reelvec.tasks.exports.captions import CaptionsByVideo, captions_by_video
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.numpy_files import matrix_of
from reelvec.tasks.exports.source import ExportSource

__all__ = ["TarShards"]

_SHARD_BYTES = 1 << 30
_SHARD_SAMPLES = 10_000


class TarShards(Target):
    """`videos-000000.tar`, …: samples called by the video's row, with all that is of one video.

    `json`: its columns, captions (ids and texts), the frames' times; `COLUMN.npy`: a vector of the
    video; `captions.COLUMN.npy`: [captions, numbers]; `000.jpg`, …: its frames, as they are stored
    or at quality 95.
    """

    name = "webdataset"
    opened_by = 'webdataset.WebDataset("OUT/videos-000000.tar").decode("pil")'
    takes = frozenset({"frames"})

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One pass over the videos; a tar of at most 1 GiB, or 10,000 samples."""
        reader = source.reader if settings.frames else None
        has_captions = "captions" in source.tables
        columns = source.vector_columns("captions") if has_captions else ()
        with (
            captions_by_video(source, ["caption_id", "text", *columns]) as captions,
            _Shards(folder) as shards,
        ):
            row = 0
            for rows in source.rows("videos"):
                vectors = {
                    name: matrix_of(rows.column(name), name=name)
                    for name in source.vector_columns("videos")
                }
                facts = rows.select([n for n in rows.column_names if n not in vectors])
                for at, video in enumerate(facts.to_pylist()):
                    mine = {f"{name}.npy": values[at] for name, values in vectors.items()}
                    files = _files(video, mine, captions=captions, reader=reader)
                    shards.add(f"{row:09d}", files)
                    row += 1


class _Shards:
    """Tar files of a folder, the next one when one is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = -1
        self._tar: tarfile.TarFile | None = None
        self._samples = self._bytes = 0

    def add(self, key: str, files: Iterator[tuple[str, bytes]]) -> None:
        """One sample, its files under one name; a sample is never cut."""
        full = self._bytes >= _SHARD_BYTES or self._samples >= _SHARD_SAMPLES
        if self._tar is None or full:
            self._close()
            self._number += 1
            path = self._folder / f"videos-{self._number:06d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self._samples = self._bytes = 0
        for suffix, data in files:
            info = tarfile.TarInfo(f"{key}.{suffix}")
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
            self._bytes += len(data)
        self._samples += 1

    def _close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def _files(
    video: dict[str, Any],
    vectors: Mapping[str, np.ndarray],
    *,
    captions: CaptionsByVideo,
    reader: FrameReader | None,
) -> Iterator[tuple[str, bytes]]:
    """(suffix, bytes) of all that is of one video."""
    said = captions.of(video["video_id"])
    words = said.select(["caption_id", "text"]).to_pylist()
    key = video.get("clip_key", "")
    with_frames = reader is not None and key in reader
    times = {}
    if reader is not None and with_frames:
        times = {
            "seconds": reader.pts(key).tolist(),
            "frame_index": reader.frame_index(key).tolist(),
        }
    facts = {**video, "captions": words, **times}
    yield "json", json.dumps(facts, ensure_ascii=False).encode()
    for name, values in vectors.items():
        yield name, _npy(values)
    for name in said.column_names:
        if name not in ("video_id", "caption_id", "text"):
            yield f"captions.{name}.npy", _npy(matrix_of(said.column(name), name=name))
    if reader is not None and with_frames:
        for number, picture in enumerate(reader.jpegs(key)):
            yield f"{number:03d}.jpg", bytes(picture)


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()
