"""Convert frames to another format: the artifact that extraction in that format would make.

Clips are copied as they are stored, one at a time, so the frames are the same bytes either way and
the memory is that of one clip. A JPEG payload is made from raw frames as extraction makes it; raw
frames cannot come back from JPEG. A part of the source becomes a part of the target, with every
ledger row; what a killed conversion finished is adopted by the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.storage.commits.artifact import Artifact, PartRef, Receipt, Snapshot
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.frames.contract import ClipFrames, FrameShardReader, FrameShardWriter, Payload
from reelvec.storage.frames.formats import NATIVE_FORMAT, SUFFIXES, Format, open_reader, open_writer
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import latest_run
from reelvec.tasks.frames.extract import TABLE
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    make_shards,
    run_shard,
    split_finished,
)

__all__ = ["Converted", "convert_frames"]


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion."""

    source: str
    target: Snapshot
    clips: int
    """Ledger rows brought over by this call; 0 where all were there."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How the target stores frames."""

    format: Format
    payload: Payload
    size: int
    native: bool

    @property
    def schema(self) -> str:
        sides = "H,W" if self.native else f"{self.size},{self.size}"
        return f"{self.format}/{self.payload} uint8 [T,{sides},3]"


def convert_frames(
    store: str, *, format: Format, payload: Payload | None = None, fingerprint: str = ""
) -> Converted:
    """Write the latest frames of the store in another format.

    Args:
        store: root of the store.
        format: arrow or hdf5.
        payload: raw or jpeg; None: as the source has it.
        fingerprint: of the frames artifact to convert; "": the last run's, or the only one.

    Returns:
        The target's snapshot, in which planned = ok + salvaged + quarantined holds as in every one.

    Raises:
        MissingArtifactError: there are no such frames.
        StoreError: more than one could be meant, the target is the source, or raw frames are asked
            for where only JPEGs are stored.
        IntegrityError: a part of the source is damaged; nothing of it is copied.
    """
    source = _source(open_root(store), fingerprint=fingerprint)
    with source.pinned() as snapshot:
        target, form = _target(source, format=format, payload=payload)
        parts, superseded = _pending(snapshot, target.latest())
        shards = [shard for shard, _ in parts]
        part_of = {shard.name: part for shard, part in parts}
        receipts, todo = split_finished(target, shards)
        receipts += [_convert(target, shard, part_of[shard.name], form=form) for shard in todo]
        note = f"converted from {source.fingerprint} snapshot {snapshot.number}"
        published = target.publish(add=receipts, supersede={TABLE: superseded}, note=note)
    return Converted(source.fingerprint, published, sum(len(shard.items) for shard in shards))


def _source(root: Root, *, fingerprint: str) -> Artifact:
    run = latest_run(root)
    if not fingerprint and run is not None and "frames" in run.artifacts:
        fingerprint = run.artifacts["frames"][0]
    if not fingerprint:
        there = root.list("frames")
        if len(there) > 1:
            raise StoreError(
                f"{root.uri} has {len(there)} frames artifacts and no run says which is meant; "
                f"name one: {', '.join(there)}",
                path=root.uri,
            )
        if not there:
            raise MissingArtifactError(
                f"{root.uri} has no frames; extract some first (`reelvec run`)", path=root.uri
            )
        fingerprint = there[0]
    return Artifact.find(root, kind="frames", fingerprint=fingerprint)


def _target(source: Artifact, *, format: Format, payload: Payload | None) -> tuple[Artifact, _Form]:
    settings: Mapping[str, Any] = source.identity["settings"]
    payload = payload or settings["payload"]
    if (format, payload) == (settings["format"], settings["payload"]):
        raise StoreError(
            f"frames {source.fingerprint} are {format}/{payload} already", path=source.folder
        )
    if payload == "raw" and settings["payload"] != "raw":
        raise StoreError(
            f"frames {source.fingerprint} are stored as JPEG, from which the raw frames cannot be "
            "had back; extract them from the videos (extract.payload=raw)",
            path=source.folder,
        )
    native = settings.get("fit") == "native"
    if native and format != "arrow":
        raise StoreError(
            f"frames {source.fingerprint}: {NATIVE_FORMAT.format(format)}", path=source.folder
        )
    identity = {**source.identity, "settings": {**settings, "format": format, "payload": payload}}
    target = Artifact.open(source.root, kind="frames", identity=identity)
    return target, _Form(format, payload, int(settings["size"]), native)


def _pending(
    snapshot: Snapshot, have: Snapshot | None
) -> tuple[list[tuple[Shard[Outcome], PartRef]], list[str]]:
    """A shard for each part with clips the target lacks, and keys that it only has as failed."""
    live = have.live(TABLE) if have else {}
    shards: list[tuple[Shard[Outcome], PartRef]] = []
    superseded: list[str] = []
    for part in snapshot.parts(TABLE):
        rows = [row for row in part.outcomes() if _is_due(row, live.get(row.key))]
        superseded += [row.key for row in rows if row.key in live]
        named = make_shards(rows, table=TABLE, size=max(len(rows), 1), key=_name_in_extract)
        shards += [(shard, part) for shard in named]
    return shards, superseded


def _name_in_extract(row: Outcome) -> str:
    """The key that extraction names shards by, so that both ways end with equal checksums."""
    return f"{row.key} {row.attempts - 1}"


def _is_due(row: Outcome, there: Outcome | None) -> bool:
    if there is None:
        return True
    return there.status == Status.QUARANTINED and row.status != Status.QUARANTINED


def _convert(target: Artifact, shard: Shard[Outcome], part: PartRef, *, form: _Form) -> Receipt:
    """One part, clip by clip."""

    def write(path: Path) -> PartContents:
        wanted = [row.key for row in shard.items if row.status != Status.QUARANTINED]
        with (
            closing(open_reader(part.path)) as reader,
            open_writer(
                path,
                format=form.format,
                payload=form.payload,
                size=form.size,
                native=form.native,
            ) as writer,
        ):
            index = {key: i for i, key in enumerate(reader.keys)}
            for key in wanted:
                _copy(reader, index[key], writer, payload=form.payload)
        return PartContents(rows=len(wanted), schema=form.schema, outcomes=shard.items)

    return run_shard(target, shard, suffix=SUFFIXES[form.format], write=write)


def _copy(reader: FrameShardReader, i: int, writer: FrameShardWriter, *, payload: Payload) -> None:
    if reader.payload == payload:
        writer.copy(reader, i)
        return
    times, indices = reader.pts_seconds(i), reader.frame_index(i)
    source = reader.source(i)
    writer.add(ClipFrames(reader.keys[i], reader.frames(i), times, indices, source))
