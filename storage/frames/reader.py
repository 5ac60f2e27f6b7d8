"""Frames of one snapshot by clip key, gathered into batches that the caller allocates once."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from reelvec.configs.decoding import FrameForm
from reelvec.storage.commits.artifact import PartRef, Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.commits.merging import Entry
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.frames.contract import ClipFrames, FrameShardReader, jpegs_of
from reelvec.storage.frames.formats import open_reader
from reelvec.storage.frames.rows import RowReader, can_read_rows
from reelvec.storage.reasons import Status
from reelvec.storage.video.transform import fit_all

__all__ = ["FrameReader", "parts_with"]


ROW_MEMORY = 1 << 30
"""Bytes of clips in memory at most, where they are fetched alone."""


class FrameReader:
    """Random access to the frames a snapshot has in force.

    Shards are opened when they are first needed (their checksum is verified then) and at most
    `open_shards` stay open. Of a remote store whose parts are more than this machine may keep
    copies of, and where a few clips are wanted, clips are fetched alone (`rows`). It may be used
    after a fork and can be sent to other processes; both open their own files. Not for several
    threads at once.

    Args:
        frames: a snapshot of a frames artifact, or those of its parts that are needed.
        open_shards: at most so many stay open.
        part_of: clip_key -> number of its part, where that is known; None: receipts are read.
        form: what `gather` makes of native frames; stored squares are given as they are.
        few: a few clips of many are wanted.
    """

    def __init__(
        self,
        frames: Snapshot | Sequence[PartRef],
        *,
        open_shards: int = 256,
        part_of: Mapping[str, int] | None = None,
        form: FrameForm | None = None,
        few: bool = False,
    ) -> None:
        self._few = few
        self._form = form or FrameForm()
        self._frames = frames
        self._limit = open_shards
        self._parts = frames.parts("frames") if isinstance(frames, Snapshot) else list(frames)
        self._part_of = _parts_of(self._parts) if part_of is None else part_of
        self._places: dict[str, tuple[int, int]] = {}  # key -> (index in its part, frames)
        self._open: OrderedDict[int, FrameShardReader] = OrderedDict()
        self._process = os.getpid()
        self._rows = self._row_reader()

    def __contains__(self, key: str) -> bool:
        return key in self._part_of

    def __len__(self) -> int:
        return len(self._part_of)

    @property
    def keys(self) -> tuple[str, ...]:
        """Clip keys that have frames, in the order of the snapshot."""
        return tuple(self._part_of)

    def lengths(self, keys: Sequence[str]) -> np.ndarray:
        """Stored frames of each clip, int64 [V].

        Raises:
            MissingArtifactError: a clip has no frames in this snapshot.
        """
        self._fetch(keys)
        order = sorted(range(len(keys)), key=lambda v: self._number(keys[v]))
        lengths = np.empty(len(keys), np.int64)
        for v in order:
            lengths[v] = self._length(keys[v])
        return lengths

    def picture(self, key: str) -> tuple[int, int]:
        """(height, width) of the decoded pictures of a clip; of its frames, where nothing says."""
        shard, index = self._clip(key, again=True)
        source = shard.source(index)
        return shard.shape(index) if source is None else (source.height, source.width)

    def ahead(self, keys: Sequence[str]) -> None:
        """Says which clips are read next; those of a remote store are on their way then."""
        rows = self._of_this_process()
        if rows is not None:
            rows.ahead([(self._number(key), key) for key in keys])

    def gather(self, keys: Sequence[str], *, picks: Sequence[np.ndarray], out: np.ndarray) -> None:
        """Fills a batch: ``out[v, :len(picks[v])] = frames(keys[v])[picks[v]]``, the rest zero.

        Args:
            keys: V clip keys.
            picks: V arrays of stored-frame positions, int64, at most F each.
            out: uint8 [V, F, S, S, 3].

        Raises:
            MissingArtifactError: a clip has no frames in this snapshot.
            IntegrityError: a shard is not what its receipt promised.
        """
        self._fetch(keys)
        numbers = [self._number(key) for key in keys]
        order: Sequence[int] = range(len(keys))
        if len(set(numbers)) > self._limit:  # shard by shard, each opened once
            order = sorted(order, key=numbers.__getitem__)
        slots = out.shape[1]
        for v in order:
            shard, index = self._clip(keys[v])
            count = len(picks[v])
            self._read(shard, index, picks[v], out[v, :count])
            if count < slots:
                out[v, count:] = 0

    def _read(self, shard: FrameShardReader, i: int, picks: np.ndarray, out: np.ndarray) -> None:
        """Frames `picks` of clip `i` into `out` [P, S, S, 3]; native ones are fitted."""
        if not shard.native:
            shard.read_into(i, picks, out)
            return
        whole = np.empty((len(picks), *shard.shape(i), 3), np.uint8)
        shard.read_into(i, picks, whole)
        fit_all(whole, form=self._form, out=out)

    def clip(self, key: str, picks: np.ndarray) -> ClipFrames:
        """Frames `picks` (int64 [P]) of a clip as they are stored, with all that is known of them.

        Raises:
            MissingArtifactError: the clip has no frames in this snapshot.
            IntegrityError: a shard is not what its receipt promised.
        """
        shard, index = self._clip(key)
        frames = np.empty((len(picks), *shard.shape(index), 3), np.uint8)
        shard.read_into(index, picks, frames)
        return ClipFrames(
            clip_key=key,
            frames=frames,
            pts_seconds=shard.pts_seconds(index)[picks],
            frame_index=shard.frame_index(index)[picks],
            source=shard.source(index),
        )

    def frames(self, key: str) -> np.ndarray:
        """All stored frames of a clip, uint8 [T, H, W, 3], read-only."""
        shard, index = self._clip(key)
        return shard.frames(index)

    def jpegs(self, key: str) -> Iterator[bytes]:
        """All stored frames of a clip as JPEGs, one by one; those stored so, as they are."""
        shard, index = self._clip(key)
        stored = shard.stored(index)
        return iter(stored) if isinstance(stored, list) else jpegs_of(stored)

    def pts(self, key: str) -> np.ndarray:
        """Presentation times of a clip's stored frames, float64 [T], seconds."""
        shard, index = self._clip(key)
        return shard.pts_seconds(index)

    def frame_index(self, key: str) -> np.ndarray:
        """Display indices of a clip's stored frames, int64 [T]."""
        shard, index = self._clip(key)
        return shard.frame_index(index)

    def close(self) -> None:
        """Closes every shard; the next read opens what it needs."""
        if os.getpid() == self._process:
            for shard in self._open.values():
                shard.close()
            if self._rows is not None:
                self._rows.close()
                self._rows = self._row_reader()
        self._open.clear()

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self._frames, self._limit, self._form, self._few))

    def _number(self, key: str) -> int:
        try:
            return self._part_of[key]
        except KeyError:
            raise MissingArtifactError(
                f"clip {key} has no frames in {self._where}; extract it first, or see "
                "`reelvec failures` if it was quarantined",
                path=self._parts[0].artifact.folder if self._parts else "",
            ) from None

    @property
    def _where(self) -> str:
        whole = isinstance(self._frames, Snapshot)
        return repr(self._frames) if whole else f"the {len(self._parts)} parts it was looked for in"

    def _row_reader(self) -> RowReader | None:
        """None where whole parts are read: they are here, or all of them may be."""
        limit = self._parts[0].artifact.root.copies_limit if self._parts else None
        if limit is None or not can_read_rows(self._parts):
            return None
        if not self._few and sum(part.entry.bytes for part in self._parts) <= limit:
            return None
        return RowReader(self._parts, limit_bytes=min(limit, ROW_MEMORY))

    def _of_this_process(self) -> RowReader | None:
        if os.getpid() != self._process:  # handles of the parent are not ours to use or close
            self._open = OrderedDict()
            self._process = os.getpid()
            self._rows = self._row_reader()
        return self._rows

    def _fetch(self, keys: Sequence[str]) -> None:
        """Has these on their way, one beside the other, before each is waited for."""
        rows = self._of_this_process()
        if rows is not None:
            rows.fetch([(self._number(key), key) for key in keys])

    def _clip(self, key: str, *, again: bool = False) -> tuple[FrameShardReader, int]:
        """A shard with this clip, and its place there; of a part that is not as told, whole.

        `again`: its frames are read next.
        """
        number, rows = self._number(key), self._of_this_process()
        if rows is not None:
            with suppress(IntegrityError):
                return rows.clip((number, key), again=again), 0
        index, _ = self._place(key)
        return self._shard(number), index

    def _length(self, key: str) -> int:
        if self._rows is None:
            return self._place(key)[1]
        shard, index = self._clip(key, again=True)
        return int(shard.lengths[index])

    def _place(self, key: str) -> tuple[int, int]:
        if key not in self._places:
            shard = self._shard(self._number(key))
            for index, name in enumerate(shard.keys):
                if self._part_of.get(name) == self._part_of[key]:
                    self._places[name] = (index, int(shard.lengths[index]))
        return self._places[key]

    def _shard(self, number: int) -> FrameShardReader:
        self._of_this_process()
        shard = self._open.get(number)
        if shard is None:
            shard = open_reader(self._parts[number].path)
            self._open[number] = shard
            if len(self._open) > self._limit:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(number)
        return shard


def _parts_of(parts: Sequence[PartRef]) -> dict[str, int]:
    return {
        row.key: number
        for number, part in enumerate(parts)
        for row in part.outcomes()
        if row.status != Status.QUARANTINED
    }


def _reopen(
    frames: Snapshot | Sequence[PartRef], open_shards: int, form: FrameForm, few: bool
) -> FrameReader:
    return FrameReader(frames, open_shards=open_shards, form=form, few=few)


def parts_with(frames: Snapshot | None, keys: Collection[str]) -> dict[str, Entry]:
    """The part that has the frames of each clip, for those of `keys` that have any."""
    found: dict[str, Entry] = {}
    if frames is None or not keys:
        return found
    for part, ledger in zip(frames.parts("frames"), iter_ledger(frames, "frames"), strict=True):
        for key, status in zip(ledger["key"], ledger["status"], strict=True):
            if key in keys and status != Status.QUARANTINED:
                found[key] = part.entry
    return found
