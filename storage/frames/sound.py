"""Sound shards as Arrow IPC files: memory-mapped, one record batch and one row a clip.

Columns: ``clip_key`` string, ``start_seconds`` float64 (of the first sample, since the first
picture of the file) and ``sound`` large_list of float32, one channel; the rate stands in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from reelvec.storage.commits.views import PartRef
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames.batches import batches_of, keys_of

__all__ = ["ClipSound", "SoundReader", "SoundShardReader", "SoundShardWriter"]

_VERSION = "1"
_SOUND = pa.large_list(pa.field("item", pa.float32(), False))


@dataclass(frozen=True, slots=True, eq=False)
class ClipSound:
    """The stored sound of one clip.

    Attributes:
        clip_key: content hash, and window when there is one (records.clip_key).
        samples: float32 [N], one channel.
        start_seconds: of the first sample, since the first picture of the file.
    """

    clip_key: str
    samples: np.ndarray
    start_seconds: float


class SoundShardWriter:
    """Writes record batches as clips come; the same clips give the same bytes."""

    def __init__(self, path: Path, *, rate: int) -> None:
        """A new shard at a local path; `rate` is samples a second of all its clips."""
        fields = [
            pa.field("clip_key", pa.string(), False),
            pa.field("start_seconds", pa.float64(), False),
            pa.field("sound", _SOUND, False),
        ]
        metadata = {"reelvec.sound": _VERSION, "rate": str(rate)}
        self._schema = pa.schema(fields, metadata=metadata)
        self._keys: set[str] = set()
        options = pa.ipc.IpcWriteOptions(allow_64bit=True)
        self._writer = pa.ipc.new_file(str(path), self._schema, options=options)

    def add(self, clip: ClipSound) -> None:
        """Appends a clip.

        Raises:
            StoreError: another type or shape, no sample, one that is not finite, or a key twice.
        """
        samples, key = clip.samples, clip.clip_key
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise StoreError(
                f"clip {key}: sound is {samples.dtype}{list(samples.shape)}, must be float32[N]"
            )
        if not len(samples):
            raise StoreError(f"clip {key} has no sample; record it as quarantined instead")
        if not np.isfinite(samples).all():
            raise StoreError(f"clip {key}: a sample is not finite; record it as quarantined")
        if key in self._keys:
            raise StoreError(f"clip {key} is in this shard already")
        self._keys.add(key)
        ends = pa.array([0, len(samples)], pa.int64())
        values = pa.array(np.ascontiguousarray(samples))
        columns = [
            pa.array([key], pa.string()),
            pa.array([clip.start_seconds], pa.float64()),
            pa.LargeListArray.from_arrays(ends, values, type=_SOUND),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Writes the end; without it the file is no shard."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SoundShardReader:
    """Maps a shard.

    Attributes:
        keys: clip keys in the order of writing.
        rate: samples a second.
    """

    def __init__(self, source: Path | pa.RecordBatch) -> None:
        """Of a file, or of the batch of one clip.

        Raises:
            IntegrityError: it is no sound shard.
        """
        try:
            schema, self._batches = batches_of(source)
            described = schema.metadata or {}
            if described[b"reelvec.sound"] != _VERSION.encode():
                raise KeyError(f"version {described[b'reelvec.sound']!r}")
            self.rate = int(described[b"rate"])
        except (pa.ArrowInvalid, KeyError) as error:
            raise IntegrityError(
                f"{source} is no sound shard ({error}); it is damaged or not ours",
                path=str(source),
            ) from error
        self.keys = keys_of(self._batches)

    def sound(self, i: int) -> ClipSound:
        """Clip `i`; its samples are a read-only view of the file."""
        batch = self._batches[i]
        samples = batch.column("sound").flatten().to_numpy(zero_copy_only=True)
        return ClipSound(self.keys[i], samples, batch.column("start_seconds")[0].as_py())


class SoundReader:
    """The sound of some clips, by key; parts are mapped, and verified, when they are needed."""

    def __init__(self, parts: Sequence[PartRef], *, part_of: Mapping[str, int]) -> None:
        """`part_of`: clip_key -> number of its part; others have no sound."""
        self._parts = parts
        self._part_of = part_of
        self._open: dict[int, tuple[SoundShardReader, dict[str, int]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._part_of

    def sound(self, key: str) -> ClipSound:
        """Of a clip that has some.

        Raises:
            IntegrityError: its part is not what its receipt promised.
        """
        number = self._part_of[key]
        if number not in self._open:
            shard = SoundShardReader(self._parts[number].path)
            self._open[number] = shard, {key: i for i, key in enumerate(shard.keys)}
        shard, places = self._open[number]
        return shard.sound(places[key])
