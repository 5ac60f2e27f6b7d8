"""DiDeMo, paragraphs: ``{split}_list.txt`` (ids with their extension) and ``{split}_data.json``.

A video's descriptions are joined by spaces, in the file's order, and describe its first 31 s; the
moments' own times are not used.

Sources: specs/clip4clip-clip2video.md 5.5, specs/xclip-adaclip.md A5.
"""

from __future__ import annotations

from collections import defaultdict

from reelvec.storage.corpora.annotations import Place, read_json, read_lines, typed
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["DidemoReader"]

WINDOW_SECONDS = 31.0
_SPLITS = ("train", "val", "test")


class DidemoReader(BenchmarkReader):
    """An id such as ``x.mov`` is the file ``x.mov`` or ``x.mov.mp4``."""

    protocols = ("paragraph",)

    def list_videos(self, listing: ListingBuilder) -> None:
        for split in _SPLITS:
            file = self.annotations / f"{split}_list.txt"
            for line, text in read_lines(file):
                at = Place(file, line)
                self.add_video(
                    listing, text.strip(), split=split, at=at, end_seconds=WINDOW_SECONDS
                )

    def list_captions(self, listing: ListingBuilder) -> None:
        for split in _SPLITS:
            file = self.annotations / f"{split}_data.json"
            paragraphs: dict[str, list[str]] = defaultdict(list)
            for entry in read_json(file, list):
                moment = typed(entry, dict, at=Place(file), what="an entry")
                video_id = typed(moment.get("video"), str, at=Place(file), what="`video`")
                at = Place(file, key=video_id)
                text = typed(moment.get("description"), str, at=at, what="`description`")
                paragraphs[video_id].append(text)
            joined = {video_id: [" ".join(texts)] for video_id, texts in paragraphs.items()}
            self.add_captions(listing, joined, at=file, split=split)
