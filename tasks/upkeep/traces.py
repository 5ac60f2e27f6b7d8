"""Everything a store holds of some videos: rows, captions, frames, features, and what names them.

Rows are looked for in every part that lies there, whatever a snapshot says of it: superseded ones
and those that nobody published hold them as well. A table that has a column `video_id` says which
rows are whose; clips are known by their bytes and texts by what they say, so that what other videos
of the store share with them stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.places.failures import explained
from reelvec.storage.records import clip_key
from reelvec.storage.roots import Root
from reelvec.storage.tables import iter_tables
from reelvec.storage.upkeep.erasing import Erasure, Holder
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.training.finished import finished
from reelvec.tasks.training.items import TRAINING_SET
from reelvec.tasks.training.kept import CAPTIONS, VIDEOS, text_key

__all__ = ["Traces", "traces_of"]

_ID = "video_id"
_COUNTED = frozenset({"metrics", "coverage"})
"""Tables of an evaluation that hold numbers alone; all others name videos."""
_FACTS = ("clip_key", "content_hash", "start_seconds", "end_seconds", "path", "text")
_ROWS = 65_536

Rows = Mapping[str, list[object]]
"""Columns of some rows, by name."""


@dataclass
class _Contents:
    """What rows name: clips by their keys, texts, bytes of files by their hash, and paths."""

    ids: set[str] = field(default_factory=set)
    clips: set[str] = field(default_factory=set)
    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By the video they are of, in their order."""
    hashes: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    text_keys: set[str] = field(default_factory=set)
    """Of texts that are known by their keys alone."""

    def add(self, rows: Rows) -> None:
        ids = [str(one) for one in rows[_ID]]
        self.ids.update(ids)
        self.paths.update(str(path) for path in rows.get("path", ()) if path)
        for video_id, text in zip(ids, rows.get("text", ()), strict=False):
            self.texts[video_id].append(str(text))
        self.clips.update(str(key) for key in rows.get("clip_key", ()) if key)
        if "start_seconds" in rows and "content_hash" in rows:  # windows have their file's key
            self.clips.update(_clips(rows))
        self.hashes.update(str(one) for one in rows.get("content_hash", ()) if one)

    def add_content(self, holders: Iterable[Holder]) -> None:
        """Every clip that has frames, sound or features, and every text that has features."""
        for holder in holders:
            if holder.artifact.kind in ("frames", "audio", "features"):
                for path in sorted(holder.receipts & {*map(layout.receipt_of, holder.parts)}):
                    of_texts = layout.table_of(path) == CAPTIONS
                    (self.text_keys if of_texts else self.clips).update(holder.listed(path))

    @property
    def said(self) -> frozenset[str]:
        """Every text, and those of a video as one paragraph, as a training may have read them."""
        joined = (" ".join(dict.fromkeys(texts)) for texts in self.texts.values())
        return frozenset({*joined, *(text for texts in self.texts.values() for text in texts)})


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What a store holds of some videos, and what goes with them."""

    erasures: tuple[Erasure, ...]
    """By artifact; searched tables first, the corpus last, since it tells all the others."""
    known: frozenset[str]
    """Those of the ids that some table names."""
    twins: Mapping[str, tuple[str, ...]]
    """Other videos in force that have the same bytes, by the bytes' hash: their frames stay."""
    trained: tuple[str, ...]
    """Fingerprints of finished checkpoints that were trained on them."""
    words: frozenset[str]
    """What names them in a text: ids, captions, keys of clips."""
    sources: frozenset[str]
    """Their files, which are not the store's."""


def traces_of(root: Root, ids: Collection[str], *, unclaimed: bool = False) -> Traces:
    """What the store holds of these videos; writes nothing.

    Args:
        root: the store.
        ids: of the videos.
        unclaimed: with them, frames and features that no video of any corpus has any more.

    Raises:
        IntegrityError: something in force is damaged, so that what it holds is not known.
    """
    wanted = frozenset(ids)
    holders = [Holder(artifact) for artifact in Artifact.all(root)]
    holders.sort(key=lambda one: _ORDER.index(one.artifact.kind))
    found = _Contents()
    erasures = {
        holder: Erasure(holder=holder, keys=_keys_in(holder, wanted, found))
        for holder in holders
        if holder.artifact.kind in _NAMING
    }
    concerned = frozenset(
        holder.artifact.fingerprint for holder, one in erasures.items() if any(one.hits.values())
    )
    if unclaimed:
        found.add_content(holders)
    texts = {text_key(text): text for text in found.said}
    shared = _shared(holders, wanted, found=found, texts={*texts, *found.text_keys})
    clips = frozenset(found.clips - shared.clips)
    text_keys = frozenset({*texts, *found.text_keys} - shared.texts)
    by_content = _by_content(clips, text_keys)
    for holder in holders:
        kind = holder.artifact.kind
        if whole := _tables_that_go(holder, concerned):
            erasures[holder] = Erasure(holder=holder, tables=whole)
        else:
            erasures.setdefault(holder, Erasure(holder=holder, keys=by_content.get(kind, {})))
    return Traces(
        erasures=tuple(erasures[holder] for holder in holders if erasures[holder].hits),
        known=frozenset(found.ids) | _quarantined(erasures.values()),
        twins={content: tuple(sorted(names)) for content, names in shared.twins.items()},
        trained=tuple(
            holder.artifact.fingerprint
            for holder, one in erasures.items()
            if holder.artifact.kind == "checkpoint" and any(one.hits.values()) and not one.tables
        ),
        words=frozenset({*wanted, *clips, *texts.values()} - {""}),
        sources=frozenset(found.paths),
    )


def _by_content(
    clips: frozenset[str], texts: frozenset[str]
) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Keys that go by kind and table, of what is kept by content."""
    return {
        "frames": {"frames": clips},
        "audio": {"audio": clips},
        "features": {VIDEOS: clips, CAPTIONS: texts},
    }


def _quarantined(erasures: Iterable[Erasure]) -> frozenset[str]:
    """Those of the videos that only receipts name: they have no row."""
    hits = (one.hits.items() for one in erasures if one.holder.artifact.kind in _LISTING)
    return frozenset(
        key for of in hits for path, keys in of if layout.table_of(path) == VIDEOS for key in keys
    )


def _tables_that_go(holder: Holder, concerned: Collection[str]) -> frozenset[str]:
    """Tables that go whole: those that name videos of an evaluation, an unfinished training's all.

    Args:
        holder: any artifact.
        concerned: fingerprints of the corpora, tables and trainings that have the videos.
    """
    kind = holder.artifact.kind
    if kind == "evaluation" and concerned and _is_of(holder, concerned):
        return holder.tables - _COUNTED
    if kind == "checkpoint" and holder.artifact.fingerprint in concerned:
        return frozenset() if finished(holder.latest) else holder.tables
    return frozenset()


_LISTING = ("corpus", "embeddings")
_NAMING = (*_LISTING, "checkpoint")
"""Kinds of artifacts whose tables say which rows are a video's."""
_ORDER = ("embeddings", "evaluation", "checkpoint", "features", "audio", "frames", "corpus")


def _is_of(holder: Holder, concerned: Collection[str]) -> bool:
    """Whether an evaluation is of tables or a corpus that name the videos, as far as is known."""
    tables = str(holder.artifact.identity.get("embeddings", ""))
    if tables in concerned:
        return True
    try:
        made = Artifact.find(holder.artifact.root, kind="embeddings", fingerprint=tables)
        return str(made.identity.get("corpus", "")) in {*concerned, ""}
    except StoreError:
        return True


def _keys_in(holder: Holder, wanted: frozenset[str], found: _Contents) -> dict[str, frozenset[str]]:
    """Keys of the rows of these videos by table, in every part; what they name goes to `found`."""
    keys: dict[str, set[str]] = defaultdict(set)
    for part in sorted(holder.parts):
        if not part.endswith(".parquet"):
            continue
        try:
            for key, rows in _rows_of(holder.artifact, part, wanted):
                keys[layout.table_of(part)].update(key)
                found.add(rows)
        except IntegrityError:
            if part in holder.named:
                raise
    keys[VIDEOS] |= wanted  # quarantined ones may have no row
    keys[WINDOWS].update(f"@{video_id}" for video_id in wanted)
    return {table: frozenset(names) for table, names in keys.items()}


def _rows_of(
    artifact: Artifact, part: str, wanted: frozenset[str]
) -> Iterator[tuple[list[str], Rows]]:
    """Keys, and what is known, of the rows of these videos in a part."""
    path = artifact.root.local_path(f"{artifact.folder}/{part}")
    ids = pa.array(sorted(wanted), pa.string())
    try:
        with explained("read", path=path), pq.ParquetFile(path, memory_map=True) as file:
            names = file.schema_arrow.names
            if _ID not in names:
                return
            key = names[0]
            columns = list(dict.fromkeys([key, _ID, *(name for name in _FACTS if name in names)]))
            for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
                rows = pa.table(batch)
                mine = rows.filter(pc.is_in(rows.column(_ID), value_set=ids))
                if mine.num_rows:
                    yield mine.column(key).to_pylist(), mine.to_pydict()
    except pa.ArrowInvalid as error:
        raise IntegrityError(
            f"{artifact.folder}/{part} is damaged ({error}), so that what it holds is not known;"
            " `reelvec repair` first",
            path=part,
        ) from error


@dataclass
class _Shared:
    """What other videos in force have in common with those that go."""

    clips: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    """Their keys."""
    twins: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids by the hash of the same bytes."""


def _shared(
    holders: Iterable[Holder],
    wanted: frozenset[str],
    *,
    found: _Contents,
    texts: Collection[str],
) -> _Shared:
    """Read what is in force of all other videos; only what is shared is kept in memory."""
    shared, ids = _Shared(), pa.array(sorted(wanted), pa.string())
    for holder in holders:
        latest = holder.latest
        for table in _TOLD_BY.get(holder.artifact.kind, ()):
            for piece in iter_tables(latest, table, batch_rows=_ROWS) if latest else ():
                names = [name for name in (_ID, *_FACTS) if name in piece.column_names]
                rows = piece.select(names)
                others = _Contents()
                rest = rows.filter(pc.invert(pc.is_in(rows.column(_ID), value_set=ids))).to_pydict()
                others.add(rest)
                shared.clips |= others.clips & found.clips
                keys = (text_key(str(text)) for text in rest.get("text", ()))
                shared.texts.update(key for key in keys if key in texts)
                for one, content in zip(rest[_ID], rest.get("content_hash", ()), strict=False):
                    if content in found.hashes:
                        shared.twins[content].add(one)
    return shared


_TOLD_BY = {"corpus": ("videos", "captions"), "checkpoint": (TRAINING_SET,)}
"""Tables that say what is still needed of clips and texts."""


def _clips(rows: Rows) -> Iterator[str]:
    starts, ends = rows["start_seconds"], rows["end_seconds"]
    for content, start, end in zip(rows["content_hash"], starts, ends, strict=True):
        if content:
            yield clip_key(str(content), start_seconds=start, end_seconds=end)  # type: ignore[arg-type]
