"""MSR-VTT: 1k-A (JSFusion) with 9k or 7k training videos, and the full protocol.

Files: ``MSRVTT_*.csv`` (column video_id; the 1k-A test also names each query's sentence) and
``MSRVTT_data.json`` (videos, sentences).

Sources: specs/clip4clip-clip2video.md 5.2, specs/xclip-adaclip.md A5.
"""

from __future__ import annotations

from reelvec.storage.corpora.annotations import Place, read_json, refused, typed
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.delimited import read_rows
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["MsrvttReader"]

_SENTENCES = "MSRVTT_data.json"
_ONE_K_A = "MSRVTT_JSFUSION_test.csv"
_SPLITS = {
    "9k": {"train": "MSRVTT_train.9k.csv", "test": _ONE_K_A},
    "7k": {"train": "MSRVTT_train.7k.csv", "test": _ONE_K_A},
    "full": {
        "train": "MSRVTT_train.full.csv",
        "val": "MSRVTT_val.full.csv",
        "test": "MSRVTT_test.full.csv",
    },
}


class MsrvttReader(BenchmarkReader):
    """Each test video has one query in 1k-A, and all its sentences in the full protocol.

    1k-A has no validation split: CLIP4Clip validates on the test.
    """

    protocols = tuple(_SPLITS)

    def list_videos(self, listing: ListingBuilder) -> None:
        for split, name in _SPLITS[self.protocol].items():
            file = self.annotations / name
            for line, row in read_rows(file, columns=("video_id",)):
                self.add_video(listing, row["video_id"], split=split, at=Place(file, line))

    def list_captions(self, listing: ListingBuilder) -> None:
        splits = set(_SPLITS[self.protocol])
        if _SPLITS[self.protocol]["test"] == _ONE_K_A:
            splits.remove("test")
            file = self.annotations / _ONE_K_A
            for line, row in read_rows(file, columns=("video_id", "sentence")):
                listing.add_caption(row["video_id"], row["sentence"], at=Place(file, line))
        file = self.annotations / _SENTENCES
        content = read_json(file, dict)
        known = {entry["video_id"] for entry in _entries(content, "videos", Place(file))}
        for entry in _entries(content, "sentences", Place(file)):
            video_id = entry["video_id"]
            if video_id not in known:
                raise refused(
                    Place(file, key=video_id),
                    f"a sentence of video {video_id!r}, which `videos` does not list; get the"
                    " original file again",
                )
            video = listing.videos.get(video_id)
            if video is not None and video.split in splits:
                at = Place(file, key=video_id)
                listing.add_caption(video_id, entry.get("caption"), at=at)


def _entries(content: dict, name: str, at: Place) -> list[dict]:
    entries = typed(content.get(name), list, at=at, what=f"`{name}`")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("video_id"), str):
            raise refused(at, f"{entry!r:.80} in `{name}` has no video_id; get the file again")
    return entries
