"""From files to frames and facts, through the sandbox: what extract and ingest call.

Nothing here raises for a bad video: it comes back as a result whose outcome says why, in the order
the jobs were given. See storage.video.sandbox for how a decoder that hangs, crashes or eats memory
is ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from configs.schema import ExtractConfig
from models.sampling import Rule
from storage.records import Input, Video

__all__ = [
    "ClipJob",
    "ClipResult",
    "DecodingOptions",
    "ProbeOptions",
    "decode_clips",
    "probe_files",
]


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip to decode: where its bytes are, and which bytes they must be."""

    clip_key: str
    path: str
    content_hash: str = ""
    """xxh3-128 hex the file had when listed; "": not checked."""
    bytes: int = 0
    mtime_ns: int = 0
    """As listed: where both still agree the bytes are not hashed again."""
    start_seconds: float | None = None
    end_seconds: float | None = None

    @classmethod
    def from_video(cls, video: Video, *, clip_key: str) -> ClipJob:
        """The job of a corpus row."""
        return cls(
            clip_key=clip_key,
            path=video.path,
            content_hash=video.content_hash,
            bytes=video.bytes,
            mtime_ns=video.mtime_ns,
            start_seconds=video.start_seconds,
            end_seconds=video.end_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """The fields of configs.schema.ExtractConfig that decide a clip's frames and limits."""

    rule: Rule = field(default_factory=Rule)
    size: int = 224
    resize: str = "torch"
    decoder: str = "auto"
    damaged: str = "strict"
    deadline_seconds: float = 120.0
    no_progress_seconds: float = 30.0
    memory_mb: int = 4096
    max_pixels: int = 8192 * 4320
    workers: int = 1
    """Worker processes at once."""

    @classmethod
    def from_config(cls, extract: ExtractConfig, *, workers: int = 1) -> DecodingOptions:
        """From the configuration's extract section."""
        return cls(
            rule=Rule(**extract.sampling.model_dump()),
            size=extract.size,
            resize=extract.resize,
            decoder=extract.decoder,
            damaged=extract.damaged,
            deadline_seconds=extract.deadline_seconds,
            no_progress_seconds=extract.no_progress_seconds,
            memory_mb=extract.memory_mb,
            max_pixels=extract.max_pixels,
            workers=workers,
        )


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Limits of hashing and probing one file."""

    max_pixels: int = 8192 * 4320
    deadline_seconds: float = 120.0
    no_progress_seconds: float = 30.0
    memory_mb: int = 4096
    workers: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipResult:
    """What became of one ClipJob; arrays are empty (T = 0) where it is quarantined."""

    clip_key: str
    outcome: Input
    """Ledger row: status ok, salvaged or quarantined; detail holds facts as JSON."""
    frames: npt.NDArray[np.uint8]
    """[T, S, S, 3] RGB."""
    pts_seconds: npt.NDArray[np.float64]
    """[T], seconds since the first frame of the file."""
    frame_index: npt.NDArray[np.int64]
    """[T], display indices in the file."""
    seconds: float
    """Wall time of the job, waiting for a worker left out."""


def decode_clips(jobs: Iterable[ClipJob], *, options: DecodingOptions) -> Iterator[ClipResult]:
    """Decode `jobs` in sandboxed workers; one result each, in their order.

    A few results are held at most, however many jobs there are. Close the iterator (or exhaust it)
    to end the workers.
    """
    raise NotImplementedError


def probe_files(videos: Iterable[Video], *, options: ProbeOptions) -> Iterator[Video]:
    """`videos` with content_hash, bytes, mtime_ns and the probe fields filled in, in their order.

    A file that is missing or unusable comes back with status quarantined, reason and message; its
    content_hash is set where its bytes could be read.
    """
    raise NotImplementedError
