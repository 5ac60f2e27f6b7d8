"""LSMDC: tab-separated, six columns, no header: clip id, four times, sentence.

The clip is already cut, the times are those of the film. A clip id may stand in several rows of a
file: each is one more caption.

Sources: specs/clip4clip-clip2video.md 5.4, specs/xclip-adaclip.md A5.
"""

from __future__ import annotations

from collections.abc import Iterator

from reelvec.storage.corpora.annotations import Place, read_lines, refused
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["LsmdcReader"]

_FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",
}


class LsmdcReader(BenchmarkReader):
    """Films' clips in folders by film; the test is the public challenge's 1,000 clips."""

    protocols = ("public-1000",)

    def list_videos(self, listing: ListingBuilder) -> None:
        for split, clip, _, at in self._rows():
            known = listing.videos.get(clip)
            if known is None or known.split != split:  # in another split: refused there
                self.add_video(listing, clip, split=split, at=at)

    def list_captions(self, listing: ListingBuilder) -> None:
        for _, clip, sentence, at in self._rows():
            listing.add_caption(clip, sentence, at=at)

    def _rows(self) -> Iterator[tuple[str, str, str, Place]]:
        for split, name in _FILES.items():
            file = self.annotations / name
            for line, text in read_lines(file):
                columns = text.split("\t")
                if len(columns) != 6:
                    raise refused(
                        Place(file, line),
                        f"{len(columns)} columns; a row has six, parted by tabs: clip id, four"
                        " times, sentence",
                    )
                yield split, columns[0], columns[5], Place(file, line)
