"""AdaCLIP's own annotations: ``{train,val,test}.json``, id -> {extension, sentences, …}.

``paragraph`` joins a video's sentences by spaces (its "concat"), ``sentences`` makes each an item
("indep-all"). Without a test.json, val.json is the test, as for MSR-VTT and ActivityNet there.
specs/xclip-adaclip.md B5.
"""

from __future__ import annotations

from typing import Any

from reelvec.storage.corpora.annotations import Place, read_json, typed
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["AdaclipReader"]


class AdaclipReader(BenchmarkReader):
    """The file of a video is its id with its ``extension``; ids are kept as they are."""

    protocols = ("sentences", "paragraph")

    def list_videos(self, listing: ListingBuilder) -> None:
        for split, (file, entries) in self._splits().items():
            for video_id, entry in entries.items():
                at = Place(file, key=video_id)
                fields = typed(entry, dict, at=at, what=video_id)
                extension = typed(fields.get("extension"), str, at=at, what="`extension`")
                name = f"{video_id}.{extension.removeprefix('.')}" if extension else video_id
                self.add_video(listing, video_id, split=split, at=at, names=(name,))

    def list_captions(self, listing: ListingBuilder) -> None:
        for file, entries in self._splits().values():
            for video_id, entry in entries.items():
                at = Place(file, key=video_id)
                sentences = typed(entry.get("sentences"), list, at=at, what="`sentences`")
                texts = [typed(text, str, at=at, what="a sentence") for text in sentences]
                for text in [" ".join(texts)] if self.protocol == "paragraph" else texts:
                    listing.add_caption(video_id, text, at=at)

    def _splits(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        files = {split: self.annotations / f"{split}.json" for split in ("train", "val", "test")}
        if not files["test"].exists():
            files["test"] = files.pop("val")
        return {split: (file, read_json(file, dict)) for split, file in files.items()}
