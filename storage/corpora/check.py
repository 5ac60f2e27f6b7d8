"""Checks a corpus' files: counts beside the published ones, overlaps, what is missing.

Nothing is decoded, and no video is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from reelvec.configs.uris import is_uri
from reelvec.storage.corpora.benchmarks.published import OBTAIN, PUBLISHED, Published
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.contract import CorpusReader
from reelvec.storage.corpora.discovery import VideoFiles, is_there
from reelvec.storage.corpora.listing import ListingBuilder
from reelvec.storage.corpora.registry import BENCHMARKS, reader_class
from reelvec.storage.errors import CorpusError
from reelvec.storage.reasons import Reason
from reelvec.storage.records import Video

__all__ = [
    "FEW_VIDEOS",
    "CorpusCheck",
    "Overlap",
    "SplitCheck",
    "check_corpus",
    "check_listing",
]


FEW_VIDEOS = 30
"""A test set of fewer says little: a 95 % interval of its recall spans a third of the scale."""


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """What is there of one split of one protocol; ``published`` None: nothing was counted."""

    protocol: str
    split: str
    videos: int
    captions: int
    missing_videos: int  # listed, but no file answers to their name
    published: Published | None

    @property
    def as_published(self) -> bool:
        """Whether videos and captions are as many as published (0 published: not compared)."""
        if self.published is None:
            return True
        pairs = (
            (self.videos, self.published.videos),
            (self.captions, self.published.captions),
        )
        return all(published in (0, here) for here, published in pairs)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Videos that two protocols use in different roles: train on one, never test on the other."""

    one: tuple[str, str]  # protocol, split
    other: tuple[str, str]
    videos: int


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """The findings, over all protocols of a benchmark."""

    kind: str
    splits: tuple[SplitCheck, ...]
    overlaps: tuple[Overlap, ...]
    problems: tuple[str, ...]  # what a reader would refuse, with file and line
    notes: tuple[str, ...]
    obtain: tuple[str, ...]  # names of where to get annotations and videos

    @property
    def complete(self) -> bool:
        """Whether everything published is there, videos too."""
        whole = all(split.as_published and not split.missing_videos for split in self.splits)
        return whole and not self.problems


def check_corpus(
    kind: str, *, videos: str, annotations: str, protocols: Sequence[str] = ()
) -> CorpusCheck:
    """Read every protocol of a benchmark as far as its files allow.

    Args:
        kind: A benchmark of storage.corpora.registry.
        videos: Folder of the videos; it may be missing, then every video is.
        annotations: Folder of the annotation files; what is missing is a problem, not an error.
        protocols: These only; none: all of them.

    Raises:
        CorpusError: no such benchmark, or none of its protocols.
    """
    if kind not in BENCHMARKS:
        raise CorpusError(f"benchmark {kind!r} is unknown; use one of: {', '.join(BENCHMARKS)}")
    reader_of = reader_class(kind)
    files = VideoFiles(Path(videos).expanduser(), required=False)
    listings: dict[str, ListingBuilder] = {}
    problems: dict[str, None] = {}  # each once, in order: protocols share files
    for protocol in protocols or reader_of.protocols:
        reader = reader_of(videos, annotations=annotations, protocol=protocol)
        reader.files = files
        listings[reader.protocol], refusals = _read(reader)
        problems.update(dict.fromkeys(refusals))
    return CorpusCheck(
        kind,
        tuple(
            split for name, listing in listings.items() for split in _splits(kind, name, listing)
        ),
        tuple(_overlaps(listings)),
        tuple(problems),
        (
            *{note: None for listing in listings.values() for note in listing.notes},
            *(files.notes if listings else ()),
        ),
        OBTAIN.get(kind, ()),
    )


def check_listing(kind: str, *, reader: CorpusReader) -> CorpusCheck:
    """Read a corpus of one's own: its counts by split, and what its reader refuses."""
    try:
        listing = reader.read()
    except CorpusError as error:
        return CorpusCheck(kind, (), (), (str(error),), (), ())
    split_of = {video.video_id: video.split for video in listing.videos}
    videos = Counter(split_of.values())
    captions = Counter(split_of[caption.video_id] for caption in listing.captions)
    missing = Counter(v.split for v in listing.videos if _is_missing(v))
    splits = tuple(
        SplitCheck("", split, videos[split], captions[split], missing[split], None)
        for split in sorted(videos)
    )
    refused = tuple(f"{v.path}: {v.message}" for v in listing.videos if v.message)
    notes = (*listing.notes, *_words_of_splits(splits))
    return CorpusCheck(kind, splits, (), (*listing.problems, *refused), notes, ())


def _is_missing(video: Video) -> bool:
    """Whether no file answers to its name; of an object its listing has said so."""
    if is_uri(video.path):
        return video.reason == Reason.MISSING
    return not is_there(video.path)


def _words_of_splits(splits: Sequence[SplitCheck]) -> list[str]:
    """What is to be known of splits before a run depends on them."""
    names = [split.split for split in splits]
    words = []
    if any(names) and "test" not in names:
        words.append(
            f"no video is in the split test (the splits are: {', '.join(filter(None, names))}); set"
            " evaluate.split to the one that is to be scored"
        )
    words += [
        f"the split test has {split.videos} videos: so few that its scores, and their intervals,"
        f" say little; {FEW_VIDEOS} or more do"
        for split in splits
        if split.split == "test" and split.videos < FEW_VIDEOS
    ]
    return words


def _read(reader: BenchmarkReader) -> tuple[ListingBuilder, list[str]]:
    """As much as can be read, and why not more; half a list of videos counts for nothing."""
    listing = ListingBuilder()
    steps: tuple[Callable[[], None], ...] = (
        lambda: reader.list_videos(listing),
        lambda: reader.list_captions(listing),
        listing.require_captions,
    )
    for number, step in enumerate(steps):
        try:
            step()
        except CorpusError as error:
            return (listing if number else ListingBuilder()), [str(error)]
    return listing, []


def _splits(kind: str, protocol: str, listing: ListingBuilder) -> list[SplitCheck]:
    published = PUBLISHED.get((kind, protocol), {})
    videos = Counter(video.split for video in listing.videos.values())
    captions = Counter(listing.videos[caption.video_id].split for caption in listing.captions)
    missing = Counter(video.split for video in listing.videos.values() if not is_there(video.path))
    return [
        SplitCheck(
            protocol, split, videos[split], captions[split], missing[split], published.get(split)
        )
        for split in dict.fromkeys([*published, *videos])
    ]


def _overlaps(listings: dict[str, ListingBuilder]) -> list[Overlap]:
    parts: dict[tuple[str, str], set[str]] = {}
    for protocol, listing in listings.items():
        for video in listing.videos.values():
            parts.setdefault((protocol, video.split), set()).add(video.video_id)
    return [
        Overlap(one, other, shared)
        for one, other in combinations(parts, 2)
        if one[0] != other[0] and one[1] != other[1] and (shared := len(parts[one] & parts[other]))
    ]
