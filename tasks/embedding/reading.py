"""Frames of a shard's clips, from the parts its plan named: what a shard reads is its own.

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
from reelvec.tasks.artifacts import SnapshotRef

__all__ = ["frames_of_clips"]


def frames_of_clips(
    frames: SnapshotRef, *, part_of: Mapping[str, Entry | None], form: FrameForm | None = None
) -> FrameReader:
    """A reader of these clips alone.

    Args:
        frames: the snapshot that was planned with.
        part_of: clip_key -> the part with its frames; None: it has none.
        form: what is made of native frames.
    """
    numbers: dict[Entry, int] = {}
    number_of = {
        key: numbers.setdefault(part, len(numbers))
        for key, part in part_of.items()
        if part is not None
    }
    artifact = _opened(frames)
    parts = [PartRef(artifact, part) for part in numbers]
    return FrameReader(parts, part_of=number_of, form=form)


@lru_cache(maxsize=1)
def _opened(frames: SnapshotRef) -> Artifact:
    """The artifact, kept by the process: it knows which parts have been verified."""
    return frames.artifact()
