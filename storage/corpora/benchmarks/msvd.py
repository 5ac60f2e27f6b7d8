"""MSVD: ``{train,val,test}_list.txt`` and ``raw-captions.pkl`` (id -> lists of words).

Every caption is an item, in training and in evaluation. specs/clip4clip-clip2video.md 5.3.
"""

from __future__ import annotations

from reelvec.storage.corpora.annotations import Place, read_lines
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder
from reelvec.storage.corpora.pickles import read_pickled_captions

__all__ = ["MsvdReader"]


class MsvdReader(BenchmarkReader):
    """1,200 training, 100 validation and 670 test videos, up to 81 captions each."""

    protocols = ("all",)

    def list_videos(self, listing: ListingBuilder) -> None:
        for split in ("train", "val", "test"):
            file = self.annotations / f"{split}_list.txt"
            for line, text in read_lines(file):
                self.add_video(listing, text.strip(), split=split, at=Place(file, line))

    def list_captions(self, listing: ListingBuilder) -> None:
        file = self.annotations / "raw-captions.pkl"
        self.add_captions(listing, read_pickled_captions(file), at=file)
