"""Frames and captions of a run for a training loop of one's own, as PyTorch takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from reelvec.errors import RequestError
from reelvec.models.sampling.rules import pick_stored
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.reasons import Status
from reelvec.storage.records import clip_key
from reelvec.storage.tables import iter_tables
from reelvec.tasks.artifacts import SnapshotRef

__all__ = ["DatasetOptions", "FrameDataset", "Sample"]

_SELECTIONS = ("head", "tail", "linspace", "starts")
_CLIP = ("content_hash", "start_seconds", "end_seconds")
_SAMPLES: pa.Schema = pa.schema(
    [(name, pa.string()) for name in ("video_id", "clip_key", "caption_id", "text")]
)


class Sample(NamedTuple):
    """One item; a `DataLoader` stacks the tensors of a batch and lists the texts."""

    video_id: str
    caption_id: str
    """"" where the items are videos; `text` too."""
    text: str
    frames: Tensor
    """uint8 [F, S, S, 3], RGB; slots without a frame are zero."""
    mask: Tensor
    """int64 [F], 1 where there is a frame."""
    seconds: Tensor
    """float64 [F], presentation time of each frame within the file; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """See `Run.dataset`.

    Raises:
        RequestError: an unknown choice, or fewer than one frame.
    """

    split: str | None
    each: Literal["caption", "video"]
    max_frames: int
    frame_selection: Literal["head", "tail", "linspace", "starts"]

    def __post_init__(self) -> None:
        if self.each not in ("caption", "video"):
            raise RequestError(f"each ({self.each}) must be caption or video")
        if self.frame_selection not in _SELECTIONS:
            raise RequestError(
                f"frame_selection ({self.frame_selection}) must be one of {', '.join(_SELECTIONS)}"
            )
        if self.max_frames < 1:
            raise RequestError(f"max_frames ({self.max_frames}) must be at least 1")


class FrameDataset(Dataset[Sample]):
    """Samples in the order of the corpus; `Run.dataset` makes one.

    Sent to a worker process it is a few hundred bytes: each process reads the tables and opens the
    shards of frames it needs for itself. Failed videos are not in it.

    Attributes:
        options: what is in it.
    """

    def __init__(
        self, corpus: SnapshotRef, frames: SnapshotRef, *, options: DatasetOptions
    ) -> None:
        self.options = options
        self._corpus = corpus
        self._frames = frames
        if not len(self):
            raise RequestError(
                f"no {options.each} with frames is in the split ({options.split}); "
                f"there are the splits {', '.join(self._splits) or 'none'}"
            )

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __getitem__(self, index: int) -> Sample:
        """The sample at a position.

        Raises:
            IndexError: there is none.
            IntegrityError: a shard of frames is not what its receipt promised.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample ({index}) of {len(self)}")
        row = {name: self._rows.column(name)[index].as_py() for name in self._rows.column_names}
        key = row.pop("clip_key")
        slots, side = self.options.max_frames, self._side
        (stored,) = self._reader.lengths([key])
        picks = pick_stored(int(stored), slots, how=self.options.frame_selection)
        frames = np.empty((1, slots, side, side, 3), np.uint8)
        self._reader.gather([key], picks=[picks], out=frames)
        mask = (np.arange(slots) < len(picks)).astype(np.int64)
        seconds = np.zeros(slots)
        seconds[: len(picks)] = self._reader.pts(key)[picks]
        return Sample(
            **row,
            frames=torch.from_numpy(frames[0]),
            mask=torch.from_numpy(mask),
            seconds=torch.from_numpy(seconds),
        )

    def __getstate__(self) -> Mapping[str, Any]:
        """What is opened stays in its process."""
        return {name: self.__dict__[name] for name in ("options", "_corpus", "_frames")}

    @cached_property
    def _reader(self) -> FrameReader:
        return FrameReader(self._frames.open())

    @cached_property
    def _side(self) -> int:
        """Height and width of a frame, pixels."""
        return int(self._frames.artifact().identity["settings"]["size"])

    @cached_property
    def _rows(self) -> pa.Table:
        """video_id, clip_key, caption_id and text of each sample; Arrow, which forks share."""
        corpus = self._corpus.open()
        clips = self._clips(corpus)
        ids, keys = (pa.array(list(part), pa.string()) for part in (clips, clips.values()))
        if self.options.each == "video":
            empty = pa.array([""] * len(clips), pa.string())
            return pa.table([ids, keys, empty, empty], schema=_SAMPLES)
        pieces = [_SAMPLES.empty_table()]
        for piece in iter_tables(corpus, "captions", columns=["video_id", "caption_id", "text"]):
            at = pc.index_in(piece.column("video_id"), value_set=ids)
            known = piece.filter(pc.is_valid(at))
            known = known.add_column(1, "clip_key", keys.take(at.drop_null()))
            pieces.append(known.cast(_SAMPLES))
        return pa.concat_tables(pieces)

    def _clips(self, corpus: Snapshot) -> dict[str, str]:
        """video_id -> clip_key of the videos of the split that have frames."""
        clips: dict[str, str] = {}
        for piece in iter_tables(corpus, "videos", columns=["video_id", "split", "status", *_CLIP]):
            for row in piece.to_pylist():
                if row["status"] == Status.QUARANTINED or not row["content_hash"]:
                    continue
                if self.options.split is not None and row["split"] not in (self.options.split, ""):
                    continue
                key = clip_key(
                    row["content_hash"],
                    start_seconds=row["start_seconds"],
                    end_seconds=row["end_seconds"],
                )
                if key in self._reader:
                    clips[row["video_id"]] = key
        return clips

    @property
    def _splits(self) -> list[str]:
        pieces = iter_tables(self._corpus.open(), "videos", columns=["video_id", "split"])
        return sorted({split for piece in pieces for split in piece.column("split").to_pylist()})
