"""A corpus without the videos that were forgotten: no run takes them in again by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from reelvec.storage.arrow_values import texts_of
from reelvec.storage.corpora.caption_list import CaptionList, caption_tables
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.forgotten import Forgotten
from reelvec.storage.records import Video
from reelvec.storage.roots import Root

__all__ = ["without_forgotten"]

_ROWS = 65_536  # looked at at once


def without_forgotten(listing: CorpusListing, *, root: Root) -> CorpusListing:
    """The listing without them and their captions, and a note that says how many there were.

    They get no row: a row would name them.

    Raises:
        IntegrityError: a record of forgotten videos is damaged, so that it is not known who is.
    """
    gone = Forgotten.of(root).among(_ids(listing.videos))
    if not gone:
        return listing
    captions = CaptionList()
    for piece in caption_tables(listing.captions, rows=_ROWS):
        captions.extend(_without(piece, gone))
    note = (
        f"{len(gone)} of the corpus' videos were forgotten (`reelvec forget`) and are left out:"
        " take them out of its files, or let them in again with --take-back"
    )
    return dataclasses.replace(
        listing,
        videos=_staying(listing.videos, gone),
        captions=captions,
        notes=(*listing.notes, note),
    )


def _ids(videos: Sequence[Video]) -> Iterator[str]:
    if isinstance(videos, VideoList):
        for chunk in videos.table.column("video_id").chunks:
            for start in range(0, len(chunk), _ROWS):
                yield from chunk.slice(start, _ROWS).to_pylist()
    else:
        yield from (video.video_id for video in videos)


def _staying(videos: Sequence[Video], gone: frozenset[str]) -> Sequence[Video]:
    if isinstance(videos, VideoList):
        return VideoList(_without(videos.table, gone))
    return [video for video in videos if video.video_id not in gone]


def _without(rows: pa.Table, gone: frozenset[str]) -> pa.Table:
    ids = rows.column("video_id").cast(pa.large_string())
    return rows.filter(pc.invert(pc.is_in(ids, value_set=texts_of(sorted(gone)))))
