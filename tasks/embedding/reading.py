"""Frames and sound of a shard's clips, from the parts its plan named: a shard reads its own.

Neither the snapshot nor a receipt is read, since both are as large as the corpus and there is a
shard for every few hundred of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from reelvec.configs.decoding import FrameForm
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.views import PartRef
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.frames.sound import SoundReader
from reelvec.tasks.artifacts import SnapshotRef

__all__ = ["frames_of_clips", "sound_of_clips"]


def frames_of_clips(
    frames: SnapshotRef, *, part_of: Mapping[str, Entry | None], form: FrameForm | None = None
) -> FrameReader:
    """A reader of these clips alone.

    Args:
        frames: the snapshot that was planned with.
        part_of: clip_key -> the part with its frames; None: it has none.
        form: what is made of native frames.
    """
    parts, number_of = _parts(frames, part_of)
    return FrameReader(parts, part_of=number_of, form=form)


def sound_of_clips(audio: SnapshotRef, *, part_of: Mapping[str, Entry | None]) -> SoundReader:
    """A reader of the sound of these clips alone; those without a part have none."""
    parts, number_of = _parts(audio, part_of)
    return SoundReader(parts, part_of=number_of)


def _parts(
    ref: SnapshotRef, part_of: Mapping[str, Entry | None]
) -> tuple[list[PartRef], dict[str, int]]:
    """The parts that are named, and the number of each clip's among them."""
    numbers: dict[Entry, int] = {}
    number_of = {
        key: numbers.setdefault(part, len(numbers))
        for key, part in part_of.items()
        if part is not None
    }
    artifact = _opened(ref)
    return [PartRef(artifact, part) for part in numbers], number_of


@lru_cache(maxsize=2)
def _opened(kept: SnapshotRef) -> Artifact:
    """The artifact, kept by the process: it knows which parts have been verified."""
    return kept.artifact()
