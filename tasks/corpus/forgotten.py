"""A corpus without the videos that were forgotten: no run takes them in again by itself."""

from __future__ import annotations

import dataclasses

from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.forgotten import Forgotten
from reelvec.storage.roots import Root

__all__ = ["without_forgotten"]


def without_forgotten(listing: CorpusListing, *, root: Root) -> CorpusListing:
    """The listing without them and their captions, and a note that says how many there were.

    They get no row: a row would name them.

    Raises:
        IntegrityError: a record of forgotten videos is damaged, so that it is not known who is.
    """
    gone = Forgotten.of(root).among(video.video_id for video in listing.videos)
    if not gone:
        return listing
    captions = CaptionList()
    for caption in listing.captions:
        if caption.video_id not in gone:
            captions.append(caption)
    note = (
        f"{len(gone)} of the corpus' videos were forgotten (`reelvec forget`) and are left out:"
        " take them out of its files, or let them in again with --take-back"
    )
    return dataclasses.replace(
        listing,
        videos=[video for video in listing.videos if video.video_id not in gone],
        captions=captions,
        notes=(*listing.notes, note),
    )
