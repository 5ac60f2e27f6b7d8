"""VATEX, English: ``*_list.txt`` and ``vatex_data.json`` (id -> enCap).

Splits: ``hgr`` (Chen et al.: val_list, test_list) or ``random1k5`` (test1k5_sec_list, the split
of the CLIP2Video paper). specs/clip4clip-clip2video.md 5.6.
"""

from __future__ import annotations

from collections.abc import Iterator

from reelvec.storage.corpora.annotations import Place, read_json, read_lines, typed
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["VatexReader"]

_RANDOM_TEST = "test1k5_sec_list.txt"


class VatexReader(BenchmarkReader):
    """25,991 training videos with either split.

    ``random1k5`` was published without validation videos; here these are what its test leaves of
    the other split's val and test.
    """

    protocols = ("hgr", "random1k5")

    def list_videos(self, listing: ListingBuilder) -> None:
        splits = [("train", "train_list.txt"), ("val", "val_list.txt"), ("test", "test_list.txt")]
        random: dict[str, Place] = {}
        if self.protocol == "random1k5":
            random = dict(self._ids(_RANDOM_TEST))
            for video_id, at in self._ids(_RANDOM_TEST):
                self.add_video(listing, video_id, split="test", at=at)
            splits[2] = ("val", "test_list.txt")
        for split, name in splits:
            for video_id, at in self._ids(name):
                if split == "train" or video_id not in random:
                    self.add_video(listing, video_id, split=split, at=at)

    def list_captions(self, listing: ListingBuilder) -> None:
        file = self.annotations / "vatex_data.json"
        captions = {}
        for video_id, entry in read_json(file, dict).items():
            at = Place(file, key=video_id)
            texts = typed(entry, dict, at=at, what=video_id).get("enCap")
            captions[video_id] = typed(texts, list, at=at, what="`enCap`")
        self.add_captions(listing, captions, at=file)

    def _ids(self, name: str) -> Iterator[tuple[str, Place]]:
        file = self.annotations / name
        for line, text in read_lines(file):
            yield text.strip(), Place(file, line)
