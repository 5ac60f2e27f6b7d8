"""The training set: which captions of which clips, as the checkpoint artifact's first table.

It is committed before the first step, so a run resumed later trains on exactly these items
whatever the corpus has become, and a trained model says what it was trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import xxhash

from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.reasons import Status
from reelvec.storage.records import (
    Caption,
    Outcome,
    Video,
    clip_key,
    records_from_table,
    records_to_table,
)
from reelvec.storage.tables import read_table, schema_text, write_table

__all__ = [
    "ITEM_SCHEMA",
    "TRAINING_SET",
    "Item",
    "choose_items",
    "commit_items",
    "read_items",
    "set_hash",
    "trained_clips",
]

TRAINING_SET = "training_set"
ITEM_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("item_id", "role", "video_id", "clip_key", "text")
    ]
)

Role = Literal["train", "selection"]


@dataclass(frozen=True, slots=True)
class Item:
    """A caption with its clip, and what it is for. `item_id` is role/caption_id."""

    item_id: str
    role: Role
    video_id: str
    clip_key: str
    text: str


def choose_items(
    videos: Sequence[Video],
    captions: Sequence[Caption],
    *,
    clips_with_frames: Collection[str],
    selection_split: str,
    joined: bool = False,
) -> list[Item]:
    """Captions to train and to select on, whose clips have frames; sorted by item_id.

    Args:
        videos: of the corpus; one without split takes part in both roles.
        captions: of the corpus, in its order.
        clips_with_frames: clip keys that have frames.
        selection_split: the split on which the best epoch is chosen.
        joined: one item a video, its captions in their order as a paragraph.
    """
    usable = {v.video_id: v for v in videos if _clip_of(v) in clips_with_frames}
    texts: dict[str, list[Caption]] = defaultdict(list)
    for caption in captions:
        if caption.video_id in usable:
            texts[caption.video_id].append(caption)
    items: list[Item] = []
    for video_id, own in texts.items():
        video = usable[video_id]
        for role in _roles(video.split, selection_split=selection_split):
            for name, text in _paragraph(own) if joined else _single(own):
                items.append(Item(f"{role}/{name}", role, video_id, _clip_of(video), text))
    return sorted(items, key=lambda item: item.item_id)


def _clip_of(video: Video) -> str:
    if not video.content_hash or video.status == Status.QUARANTINED:
        return ""
    return clip_key(
        video.content_hash, start_seconds=video.start_seconds, end_seconds=video.end_seconds
    )


def _roles(split: str, *, selection_split: str) -> Iterator[Role]:
    if split in ("train", ""):
        yield "train"
    if split in (selection_split, ""):
        yield "selection"


def _single(captions: Sequence[Caption]) -> list[tuple[str, str]]:
    return [(caption.caption_id, caption.text) for caption in captions]


def _paragraph(captions: Sequence[Caption]) -> list[tuple[str, str]]:
    return [(captions[0].video_id, " ".join(caption.text for caption in captions))]


def set_hash(items: Sequence[Item]) -> str:
    """xxh3-128 of what the items say, whatever their order."""
    digest = xxhash.xxh3_128()
    for item in sorted(items, key=lambda item: item.item_id):
        for value in (item.item_id, item.clip_key, item.text):
            digest.update(value.encode() + b"\0")
    return digest.hexdigest()


def commit_items(artifact: Artifact, items: Sequence[Item]) -> Snapshot:
    """Put these items in force, in place of others (nothing is written if they already are)."""
    snapshot = artifact.latest()
    before: Mapping[str, Outcome] = snapshot.live(TRAINING_SET) if snapshot else {}
    if snapshot is not None and before and read_items(snapshot) == list(items):
        return snapshot
    receipt = _write(artifact, items)
    return artifact.publish(
        add=[receipt], supersede={TRAINING_SET: list(before)}, note=f"{len(items)} training items"
    )


def _write(artifact: Artifact, items: Sequence[Item]) -> Receipt:
    table = records_to_table(items, schema=ITEM_SCHEMA)
    with artifact.new_part(table=TRAINING_SET, shard=set_hash(items), suffix=".parquet") as part:
        write_table(part.path, table, metadata={})
        outcomes = [Outcome(key=item.item_id) for item in items]
        return part.commit(rows=len(items), schema=schema_text(ITEM_SCHEMA), outcomes=outcomes)


def read_items(snapshot: Snapshot) -> list[Item]:
    """The items in force, sorted by item_id."""
    table = read_table(snapshot, TRAINING_SET, schema=ITEM_SCHEMA)
    return sorted(records_from_table(table, record=Item), key=lambda item: item.item_id)


def trained_clips(snapshot: Snapshot) -> frozenset[str]:
    """Keys of the clips whose captions were trained on, not those only selected on."""
    columns = ["role", "clip_key"]
    rows = read_table(snapshot, TRAINING_SET, schema=ITEM_SCHEMA).select(columns).to_pydict()
    pairs = zip(rows["role"], rows["clip_key"], strict=True)
    return frozenset(key for role, key in pairs if role == "train")
