"""Compare the tables with corpus and frames, in memory that hardly grows with them.

Rows that are in force as they should be are told by one digest of key and signature, sixteen bytes
a row, in a stream over corpus tables and receipts. Only the others are made into objects: a plan
costs memory for what is to be done, not for what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of, texts_of
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.commits.merging import Entry
from reelvec.storage.digests import Digests, DigestSet, digests
from reelvec.storage.reasons import Status
from reelvec.storage.records import CAPTION_SCHEMA, Outcome
from reelvec.storage.tables import iter_tables
from reelvec.tasks.corpus.clips import ClipOutcomes, are_quarantined, clip_outcomes, iter_clips
from reelvec.tasks.corpus.video_columns import taken, video_columns
from reelvec.tasks.embedding.rows import CaptionRow, VideoRow, caption_signature_of, video_signature

__all__ = ["Differences", "caption_differences", "embedded_clips", "video_differences"]

Row = TypeVar("Row", VideoRow, CaptionRow)
Planned = tuple[list[str], Callable[[int], tuple[Any, ...]]]
"""Rows as they should be: key and signature of each as one text, and what gives the fields of the
one of a number."""

_QUARANTINED, _OK = Status.QUARANTINED.value, Status.OK.value
_UNASKED = ("", -1)
_ROWS = 16_384  # compared at once
_VIDEOS = ("video_id", "content_hash", "split", "status", "reason", "message")
_CAPTIONS = tuple(CAPTION_SCHEMA.names)
_BETWEEN = texts_of(["\0"]).cast(pa.large_binary())[0]


@dataclass(frozen=True)
class Differences(Generic[Row]):
    """Rows to write, and rows in force that are stale or orphaned."""

    due: list[Row]
    in_force: dict[str, Outcome]
    """By key; a key that is not due too is orphaned."""


def video_differences(
    corpus: Snapshot | None,
    *,
    frames: Snapshot | None,
    base: Snapshot | None,
    audio: ClipOutcomes | None = None,
) -> Differences[VideoRow]:
    """Rows of the video table to write; videos without an outcome yet are left out.

    Args:
        corpus: what should be embedded.
        frames: decides the outcome of videos that were listed well.
        base: the tables in force.
        audio: what became of the sound of clips; None: the model hears nothing.
    """
    clips = clip_outcomes(frames)

    def row(*fields: Any) -> VideoRow:
        *facts, number, heard = fields
        sound_part = audio.part(heard) if audio is not None else None
        return replace(VideoRow(*facts), part=clips.part(number), sound_part=sound_part)

    return _compare(_videos(corpus, clips=clips, audio=audio), base=base, table="videos", make=row)


def caption_differences(
    corpus: Snapshot | None, *, base: Snapshot | None
) -> Differences[CaptionRow]:
    """Rows of the caption table to write."""
    return _compare(_captions(corpus), base=base, table="captions", make=CaptionRow)


def embedded_clips(
    base: Snapshot | None, *, wanted: Mapping[str, str]
) -> dict[str, tuple[str, Entry]]:
    """clip_key -> a video_id whose row is in force with that clip, and the row's part.

    Args:
        base: the tables in force.
        wanted: the clips that are looked for, and what their rows say of sound.
    """
    owner_of: dict[str, tuple[str, Entry]] = {}
    if base is None or not wanted:
        return owner_of
    for part, ledger in zip(base.parts("videos"), iter_ledger(base, "videos"), strict=True):
        for key, status, detail in zip(
            ledger["key"], ledger["status"], ledger["detail"], strict=True
        ):
            clip = detail.partition(" ")[0]
            if clip not in wanted or status == _QUARANTINED:
                continue
            if not wanted[clip] or detail.rpartition(" ")[2] == wanted[clip]:
                owner_of[clip] = key, part.entry
    return owner_of


def _compare(
    batches: Iterator[Planned], *, base: Snapshot | None, table: str, make: Callable[..., Row]
) -> Differences[Row]:
    live = DigestSet([_ledger_digests(ledger) for ledger in iter_ledger(base, table)])
    as_planned = np.zeros(len(live), bool)
    due: list[Row] = []
    for texts, row_of in batches:
        positions = live.find(digests(texts))
        as_planned[positions[positions >= 0]] = True
        due.extend(make(*row_of(i)) for i in np.flatnonzero(positions < 0).tolist())
    in_force: dict[str, Outcome] = {}
    if not as_planned.all():
        start = 0
        for ledger in iter_ledger(base, table):
            stop = start + len(ledger["key"])
            for i in np.flatnonzero(~as_planned[start:stop]):
                row = Outcome(**{name: values[i] for name, values in ledger.items()})
                in_force[row.key] = row
            start = stop
    return Differences(due, in_force)


def _ledger_digests(ledger: dict[str, list[Any]]) -> Digests:
    pairs = zip(ledger["key"], ledger["detail"], strict=True)
    return digests([f"{key}\0{detail}" for key, detail in pairs])


def _videos(
    corpus: Snapshot | None, *, clips: ClipOutcomes, audio: ClipOutcomes | None
) -> Iterator[Planned]:
    for _, piece, keys in iter_clips(corpus):
        batch = _Batch(piece, keys, clips.places(keys))
        usual = (batch.places >= 0) & ~are_quarantined(piece) & (audio is None)
        others = np.flatnonzero(~usual)
        few = taken(piece, others)
        planned = _others_planned(few, [keys[i] for i in others.tolist()], clips, audio)
        texts = batch.texts()
        for i, found in zip(others.tolist(), planned, strict=True):
            if found is not None:
                texts[i], batch.others[i] = found
                usual[i] = True
        batch.chosen = np.flatnonzero(usual)
        yield [texts[i] for i in batch.chosen.tolist()], batch.row


@dataclass(slots=True)
class _Batch:
    """Videos of a corpus, most of which are ok: of such a one a text is made, and a row if due."""

    piece: pa.Table
    keys: Sequence[str]
    places: NDArray[np.int64]
    others: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    """Rows of those that are not simply ok."""
    chosen: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Those with an outcome."""

    def texts(self) -> list[str]:
        """Key and `video_signature` of each as if it were ok."""
        ids, splits = (self.piece.column(name).to_pylist() for name in ("video_id", "split"))
        rows = zip(ids, self.keys, splits, strict=True)
        return [f"{video_id}\0{key} {split} {_OK} " for video_id, key, split in rows]

    def row(self, number: int) -> tuple[Any, ...]:
        """Of the one that is `number` among those chosen."""
        i = int(self.chosen[number])
        if i in self.others:
            return self.others[i]
        names = ("video_id", "content_hash", "split")
        video_id, content, split = (self.piece.column(name)[i].as_py() for name in names)
        part = int(self.places[i])
        return (video_id, content, self.keys[i], split, _OK, "", "", "", "", part, -1)


def _others_planned(
    piece: pa.Table, keys: Sequence[str], clips: ClipOutcomes, audio: ClipOutcomes | None
) -> Iterator[tuple[str, tuple[Any, ...]] | None]:
    """Text and row of each; None: what becomes of it is not known yet."""
    columns = [piece.column(name).to_pylist() for name in _VIDEOS]
    for video_id, content, split, status, reason, message, key, part, found in zip(
        *columns, keys, clips.places(keys).tolist(), _sounds(keys, audio), strict=True
    ):
        if status == _QUARANTINED:
            outcome, number = (status, reason, message), -1
        elif part >= 0:
            outcome, number = (_OK, "", ""), part
        elif key in clips.others:
            row, number = clips.others[key]
            outcome = (row.status, row.reason, row.message)
        else:
            yield None  # not decoded yet
            continue
        heard = _UNASKED if outcome[0] == _QUARANTINED else found
        if heard is None:
            yield None  # its sound was not looked for yet
            continue
        text = f"{video_id}\0{video_signature(key, split, *outcome[:2], sound=heard[0])}"
        yield text, (video_id, content, key, split, *outcome, "", heard[0], number, heard[1])


def _sounds(keys: Sequence[str], audio: ClipOutcomes | None) -> Iterator[tuple[str, int] | None]:
    """What became of each clip's sound, and the part it is in (-1: none); None: nothing yet."""
    if audio is None:
        yield from [_UNASKED] * len(keys)
        return
    for key, part in zip(keys, audio.places(keys).tolist(), strict=True):
        if part >= 0:
            yield _OK, part
        elif key not in audio.others:
            yield None
        else:
            row, number = audio.others[key]
            silent = row.status == _QUARANTINED
            yield (row.reason, -1) if silent else (row.status, number)


def _captions(corpus: Snapshot | None) -> Iterator[Planned]:
    ids: list[Digests] = []
    codes: list[Any] = []
    names: dict[str, int] = {}
    if corpus is None or "captions" not in corpus.tables:
        return
    for piece in video_columns(corpus).batches():
        ids.append(digests(piece.column("video_id").to_pylist()))
        splits = piece.column("split").to_pylist()
        codes.append(np.array([names.setdefault(s, len(names)) for s in splits], np.int32))
    videos, code_of = DigestSet(ids), np.concatenate([*codes, np.array([-1], np.int32)])
    names_of = texts_of([*names, ""])  # the code -1, of a caption without its video
    for piece in iter_tables(corpus, "captions", columns=_CAPTIONS, batch_rows=_ROWS):
        places = videos.find(digests(piece.column("video_id").to_pylist()))
        batch = _Captions(piece, names_of.take(column_of(code_of[places] % len(names_of))))
        yield batch.texts(), batch.row


@dataclass(frozen=True, slots=True)
class _Captions:
    """Captions of a corpus: of each a text is made, and a row if due."""

    piece: pa.Table
    splits: pa.Array

    def texts(self) -> list[str]:
        """Key and `caption_signature` of each; joined as columns, since there are many."""
        fields = ("video_id", "split", "subset", "text")
        columns = [self._column(name).cast(pa.large_binary()) for name in fields]
        joined = pc.binary_join_element_wise(*columns, _BETWEEN).to_pylist()
        signatures = map(caption_signature_of, joined)
        keys = self._column("caption_id").to_pylist()
        return list(map("\0".join, zip(keys, signatures, strict=True)))

    def row(self, number: int) -> tuple[Any, ...]:
        """Of the one that is `number`."""
        names = ("caption_id", "video_id", "split", "subset", "text")
        return tuple(self._column(name)[number].as_py() for name in names)

    def _column(self, name: str) -> Any:
        return self.splits if name == "split" else self.piece.column(name)
