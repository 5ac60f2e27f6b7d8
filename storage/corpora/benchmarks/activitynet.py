"""ActivityNet Captions, paragraphs: ``{train,val}_ids.json`` with ``train.json``, ``val_1.json``.

A video's sentences are joined by spaces and describe it from 0 to ceil(duration) seconds; val1 is
the test.

Sources: specs/clip4clip-clip2video.md 5.5, specs/xclip-adaclip.md A5.
"""

from __future__ import annotations

import math

from reelvec.storage.corpora.annotations import Place, read_json, refused, typed
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.listing import ListingBuilder

__all__ = ["ActivityNetReader"]

_FILES = {"train": ("train_ids.json", "train.json"), "test": ("val_ids.json", "val_1.json")}
_PREFIX = "v_"


class ActivityNetReader(BenchmarkReader):
    """Ids lose their ``v_``; files may have it or not."""

    protocols = ("val1",)

    def list_videos(self, listing: ListingBuilder) -> None:
        for split, (ids_name, entries_name) in _FILES.items():
            file = self.annotations / ids_name
            entries = read_json(self.annotations / entries_name, dict)
            for video_id in read_json(file, list):
                at = Place(file, key=str(video_id))
                if not isinstance(video_id, str) or not video_id.startswith(_PREFIX):
                    raise refused(at, f"{video_id!r} is no id of ActivityNet: those begin with v_")
                if video_id not in entries:
                    raise refused(
                        at, f"video {video_id!r} has no entry in {entries_name}; get both again"
                    )
                at_entry = Place(self.annotations / entries_name, key=video_id)
                entry = typed(entries[video_id], dict, at=at_entry, what=video_id)
                self.add_video(
                    listing,
                    video_id.removeprefix(_PREFIX),
                    split=split,
                    at=at,
                    names=(video_id.removeprefix(_PREFIX), video_id),
                    end_seconds=_end(entry.get("duration"), at=at_entry),
                )

    def list_captions(self, listing: ListingBuilder) -> None:
        for split, (_, name) in _FILES.items():
            file = self.annotations / name
            paragraphs = {}
            for video_id, entry in read_json(file, dict).items():
                at = Place(file, key=video_id)
                sentences = typed(
                    typed(entry, dict, at=at, what=video_id).get("sentences"),
                    list,
                    at=at,
                    what="`sentences`",
                )
                texts = [typed(text, str, at=at, what="a sentence") for text in sentences]
                paragraphs[video_id.removeprefix(_PREFIX)] = [" ".join(texts)]
            self.add_captions(listing, paragraphs, at=file, split=split)


def _end(duration: object, *, at: Place) -> float:
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not duration > 0:
        raise refused(at, f"`duration` is {duration!r}; it is a number of seconds above 0")
    if not math.isfinite(duration):
        raise refused(at, f"`duration` is {duration!r}; it is a number of seconds")
    return float(math.ceil(duration))
