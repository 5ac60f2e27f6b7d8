"""From files to frames and facts, through the sandbox: what extract and ingest call.

Nothing here raises for a bad video: it comes back as a result whose outcome says why, in the order
the jobs were given. See storage.sandbox.pool for how a decoder that hangs, crashes or eats memory
is ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import FileLimits, FrameOptions, JobLimits
from reelvec.configs.schema import ExtractConfig
from reelvec.storage.file_marks import FileMark
from reelvec.storage.frames.contract import Source
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.pool import Sandbox, SandboxResult
from reelvec.tasks.decoding.copies import Copied, with_copies
from reelvec.tasks.decoding.preloading import PRELOAD, Resized

__all__ = [
    "IN_MEMORY",
    "ClipJob",
    "ClipResult",
    "decode_clips",
    "pool_of",
    "probe_files",
    "quarantined",
    "run_jobs",
]

IN_MEMORY = 256 * 2**20
"""Bytes of a clip's frames that wait in memory: 1,783 frames of 224 pixels, half an hour at one a
second."""

LEAST_PIXELS = 1_000_000
"""Of a frame: small ones cost time too, to find, to shape and to write."""

_RESIZED = Resized()
"""By this process."""


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip to decode: where its bytes are, and which bytes they must be."""

    clip_key: str
    path: str
    content_hash: str = ""
    """xxh3-128 hex the file had when listed; "": not checked."""
    bytes: int = 0
    mtime_ns: int = 0
    inode: int = 0
    ctime_ns: int = 0
    """As listed: where all that are known still agree the bytes are not hashed again."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    pixels: int = 0
    """Of all frames of the file, a megapixel each at least: the work it may be."""
    packets: str = ""
    """What ingest's probe found (storage.video.kept_probe); "": the file is probed."""

    @classmethod
    def from_video(cls, video: Video, *, clip_key: str) -> ClipJob:
        """The job of a corpus row."""
        return cls(
            clip_key=clip_key,
            path=video.path,
            content_hash=video.content_hash,
            bytes=video.bytes,
            mtime_ns=video.mtime_ns,
            inode=video.inode,
            ctime_ns=video.ctime_ns,
            start_seconds=video.start_seconds,
            end_seconds=video.end_seconds,
            pixels=video.frames_counted * max(video.width * video.height, LEAST_PIXELS),
            packets=video.packets,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipResult:
    """The result of one ClipJob; arrays are empty (T = 0) where it is quarantined."""

    clip_key: str
    outcome: Outcome
    """Ledger row: status ok, salvaged or quarantined; detail holds facts as JSON."""
    frames: npt.NDArray[np.uint8]
    """[T, H, W, 3] RGB."""
    pts_seconds: npt.NDArray[np.float64]
    """[T], seconds since the first frame of the file."""
    frame_index: npt.NDArray[np.int64]
    """[T], display indices in the file."""
    source: Source | None
    """What the frames were made from; None where there are none."""
    seconds: float
    """Wall time of the job, waiting for a worker left out."""


def decode_clips(
    jobs: Sequence[ClipJob],
    *,
    options: ExtractConfig,
    workers: int = 1,
    scratch: Path | None = None,
) -> Generator[ClipResult]:
    """Decode `jobs` in sandboxed workers; one result each, in their order.

    A few results are held at most, however many jobs there are, each of at most `IN_MEMORY` bytes
    where there is a scratch folder. Close the iterator (or exhaust it) to end the workers.

    Args:
        jobs: of a shard, or a few.
        options: sampling rule, shape of a frame, limits of a clip.
        workers: processes at once.
        scratch: folder on a disk where the frames of long clips wait; None: they wait in memory,
            and more than 2 GiB of one clip are refused.

    Raises:
        ZygoteError: no worker process can be started on this machine.
    """
    also = _RESIZED.also(job.pixels for job in jobs)
    pool = pool_of(options, workers=workers, also=also, scratch=scratch)
    target, shared = "reelvec.tasks.decoding.worker:decode_clip", _shared_fields(options)
    results = run_jobs(jobs, target=target, shared=shared, pool=pool)
    with contextlib.closing(results):
        for one, result in results:
            made = _clip_result(one, result)
            if made.source is not None:
                _RESIZED.add(len(made.frames) * made.source.height * made.source.width)
            yield made


def run_jobs(
    jobs: Iterable[ClipJob],
    *,
    target: str,
    shared: dict[str, Any],
    pool: SandboxOptions,
) -> Generator[tuple[Copied[ClipJob], SandboxResult]]:
    """Each job's file and what `target` ("package.module:function") made of it; see `decode_clips`.

    `shared`: further fields of every job.
    """
    begun: deque[Copied[ClipJob]] = deque()
    copies = with_copies(jobs, limits=pool.limits)

    def payloads() -> Iterator[dict[str, Any]]:
        for one in copies:
            begun.append(one)
            yield {**dataclasses.asdict(one.of), **shared, **_input(one)}

    def deadline(job: dict[str, Any]) -> float:
        return _deadline(pool.limits, size=job["bytes"], pixels=job["pixels"])

    with _closed(copies, begun), Sandbox(target, options=pool) as sandbox:
        for result in sandbox.run(payloads(), deadline=deadline):
            one = begun.popleft()
            one.close()
            yield one, result


def probe_files(
    videos: Iterable[Video], *, limits: FileLimits, workers: int = 1
) -> Iterator[Video]:
    """`videos` with content_hash, the file's mark and the probe fields filled in, in their order.

    A file that is missing or unusable comes back with status quarantined, reason and message; its
    content_hash is set where its bytes could be read.

    Raises:
        ZygoteError: no worker process can be started on this machine.
    """
    begun: deque[Copied[Video]] = deque()
    copies = with_copies(videos, limits=limits)

    def payloads() -> Iterator[dict[str, Any]]:
        for one in copies:
            begun.append(one)
            yield {"max_pixels": limits.max_pixels, **_input(one)}

    def deadline(job: dict[str, Any]) -> float:
        return _deadline(limits, size=_stored_bytes(job["path"]), pixels=0)

    options = pool_of(limits, workers=workers)
    target = "reelvec.tasks.decoding.worker:probe_file"
    with _closed(copies, begun), Sandbox(target, options=options) as sandbox:
        for result in sandbox.run(payloads(), deadline=deadline):
            one = begun.popleft()
            one.close()
            yield _probed(one, result.value or quarantined(result))


def _input(one: Copied[Any]) -> dict[str, Any]:
    return {"path": one.path} | ({"refused": one.refusal} if one.refusal else {})


def _probed(one: Copied[Video], facts: dict[str, Any]) -> Video:
    """The row of a probed file; of an object, whose copy has a mark of its own, its own mark."""
    if "message" in facts:
        facts["message"] = one.words(facts["message"])
    if one.refusal:  # no mark: it is asked for again by the next run
        return dataclasses.replace(one.of, **facts, **dataclasses.asdict(FileMark()))
    own = dataclasses.asdict(one.of.mark) if one.held else {}
    return dataclasses.replace(one.of, **(facts | own))


@contextlib.contextmanager
def _closed(copies: Generator[Any], begun: deque[Copied[Any]]) -> Iterator[None]:
    """Lets go of what is held, however the block ends."""
    try:
        yield
    finally:
        for one in begun:
            one.close()
        copies.close()


def _deadline(limits: JobLimits, *, size: int, pixels: int) -> float:
    """Seconds a job may take: what every video has, and more for many bytes and many pixels."""
    more = limits.deadline_seconds_per_gib * size / 2**30
    return limits.deadline_seconds + more + limits.deadline_seconds_per_gigapixel * pixels / 1e9


def _stored_bytes(path: str) -> int:
    """Bytes of a file but for its holes: a terabyte of nothing earns no time."""
    if not FileMark.at(path).bytes:
        return 0
    stored = end = 0
    with contextlib.suppress(OSError), Path(path).open("rb", buffering=0) as file:
        while True:  # ends with an error: no data behind the last
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            stored += end - start
    return stored


def pool_of(
    limits: JobLimits, *, workers: int, also: tuple[str, ...] = (), scratch: Path | None = None
) -> SandboxOptions:
    """`workers` processes that decode, with what they import `also`; large results in `scratch`."""
    options = SandboxOptions(limits=limits, workers=workers, preload=PRELOAD, also=also)
    if scratch is not None:
        options = dataclasses.replace(options, scratch=scratch, max_result_bytes=IN_MEMORY)
    return options


def _shared_fields(options: ExtractConfig) -> dict[str, Any]:
    return {
        "rule": options.sampling.model_dump(mode="json"),
        "frames": options.model_dump(mode="json", include=set(FrameOptions.model_fields)),
        "max_pixels": options.max_pixels,
    }


def quarantined(result: SandboxResult) -> dict[str, Any]:
    """Outcome fields of a job that the sandbox ended before it answered."""
    unforeseen = result.reason == "error"  # an exception nobody expected is that file's alone
    return {
        "status": str(Status.QUARANTINED),
        "reason": str(Reason.UNREADABLE if unforeseen else Reason(result.reason)),
        "message": result.message,
    }


def _clip_result(one: Copied[ClipJob], result: SandboxResult) -> ClipResult:
    job, answer = one.of, result.value or quarantined(result)
    answer |= {name: one.words(answer[name]) for name in ("message", "detail") if name in answer}
    arrays, source = answer.pop("arrays", None), answer.pop("source", None)
    if arrays is None:
        frames = np.zeros((0, 0, 0, 3), np.uint8)
        pts_seconds, frame_index = np.zeros(0), np.zeros(0, np.int64)
    else:
        kept = answer.pop("kept")
        frames, pts_seconds, frame_index = (result.arrays[place][:kept] for place in arrays)
    return ClipResult(
        clip_key=job.clip_key,
        outcome=Outcome(key=job.clip_key, attempts=result.attempts, **answer),
        frames=frames,
        pts_seconds=pts_seconds,
        frame_index=frame_index,
        source=None if source is None else Source(*source),
        seconds=result.seconds,
    )
