"""What runs inside a sandbox worker: from a path to frames, to sound, or to a hash and facts.

Functions of JSON values (see storage.sandbox.worker.Target), kept apart from tasks.decoding.files
so that a worker imports nothing it does not need.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import FrameOptions, SoundForm
from reelvec.models.sampling.rules import Rule, Timeline, choose
from reelvec.storage.errors import VideoError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.sandbox.worker import Worker
from reelvec.storage.video.content import hash_file
from reelvec.storage.video.decoders import (
    CountDiffersError,
    DecodedFrames,
    read_frames,
)
from reelvec.storage.video.kept_probe import kept_text, probe_from_text
from reelvec.storage.video.probe import ProbeResult, probe
from reelvec.storage.video.sound import read_sound
from reelvec.tasks.decoding.details import MANY_FRAMES

__all__ = ["decode_clip", "decode_sound", "probe_file"]


def probe_file(job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    """Fields of storage.records.Video for the file at job["path"]."""
    if "refused" in job:
        return dict(job["refused"])
    path = job["path"]
    facts: dict[str, Any] = {}
    try:
        on_disk = _stat(path)
        if on_disk is not None:
            facts = {
                "content_hash": hash_file(path, progress=worker.heartbeat),
                **dataclasses.asdict(on_disk),
            }
        result = probe(path, max_pixels=job["max_pixels"], progress=worker.heartbeat)
        _check_unchanged(path, on_disk, facts.get("content_hash", ""), worker)
    except VideoError as error:
        return {**facts, **_refusal(error)}
    packets = kept_text(result, content_hash=facts["content_hash"])
    return {**facts, **_describe(result), "packets": packets}


def decode_clip(job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    """Fields of storage.records.Outcome, and `arrays`: places of frames, times and indices."""
    return _answered(job, worker, _frames)


def decode_sound(job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    """Fields of storage.records.Outcome, `sound_start`, and one array, the samples."""
    return _answered(job, worker, _sound)


def _answered(
    job: dict[str, Any],
    worker: Worker,
    read: Callable[[ProbeResult, dict[str, Any], Worker], dict[str, Any]],
) -> dict[str, Any]:
    """What is read of a file whose bytes are those that were listed, before and after."""
    if "refused" in job:
        return dict(job["refused"])
    path = job["path"]
    try:
        is_listed = _check_content(job, worker)
        before = _stat(path)
        answer = read(_probed(job, worker, is_listed=is_listed), job, worker)
        _check_unchanged(path, before, job["content_hash"], worker)
    except VideoError as error:
        return _refusal(error)
    return answer


def _frames(result: ProbeResult, job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    output = _Output(worker)
    try:
        decoded, indices = _read(result, job, output)
    except CountDiffersError as differs:
        result = result.recounted(differs.ticks)
        decoded, indices = _read(result, job, output)
    return _answer(decoded, indices, result, output)


def _sound(result: ProbeResult, job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    found = read_sound(
        result,
        form=SoundForm.model_validate(job["sound"]),
        window=(job["start_seconds"], job["end_seconds"]),
        salvage=job["salvage"],
        progress=worker.heartbeat,
    )
    worker.allocate(found.samples.shape, np.float32)[:] = found.samples
    facts: dict[str, Any] = {"codec": found.codec, "channels": found.channels}
    if found.pauses_seconds:
        facts["pauses_seconds"] = round(found.pauses_seconds, 3)
    if found.is_cut:
        facts["cut_to_seconds"] = job["sound"]["max_seconds"]
    return {
        "status": found.status,
        "reason": found.reason,
        "message": found.message,
        "detail": json.dumps(facts),
        "sound_start": found.start_seconds,
    }


def _probed(job: dict[str, Any], worker: Worker, *, is_listed: bool) -> ProbeResult:
    """What ingest found where the bytes are the same and it kept that; else it is found anew."""
    path, most = job["path"], job["max_pixels"]
    kept, content_hash = job.get("packets", ""), job["content_hash"]
    found = probe_from_text(kept, path=path, content_hash=content_hash) if is_listed else None
    if found is not None and 0 < found.width * found.height <= most:
        return found
    return probe(path, max_pixels=most, progress=worker.heartbeat)


class _Output:
    """Allocates in the slot and remembers which array is which."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._arrays: list[npt.NDArray[Any]] = []

    def __call__(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        self._arrays.append(self.worker.allocate(shape, dtype))
        return self._arrays[-1]

    @property
    def latest(self) -> int:
        """Place of the array allocated last."""
        return len(self._arrays) - 1

    def place_of(self, part: npt.NDArray[Any]) -> int:
        """Place of the array that `part` is, or is the beginning of."""
        return next(i for i, whole in enumerate(self._arrays) if np.may_share_memory(whole, part))


def _read(
    result: ProbeResult, job: dict[str, Any], output: _Output
) -> tuple[DecodedFrames, npt.NDArray[np.int64]]:
    """Decoded frames, each once, and the indices asked for, repeats included."""
    rule = Rule(**job["rule"])
    if result.frames_counted == 0:
        raise VideoError(
            f"{result.path}: no frame comes out", path=result.path, reason=Reason.NO_FRAMES
        )
    try:
        timeline = Timeline(
            pts_seconds=result.pts_seconds,
            fps=float(result.fps),
            declared_end_seconds=result.end_seconds,
            frames_from_header=result.frames_from_header,
            frame_seconds=result.frame_seconds,
            keyframe=result.keyframe,
            start_seconds=job["start_seconds"],
            end_seconds=job["end_seconds"],
        )
        indices = choose(rule, timeline=timeline)
    except ValueError as error:
        raise VideoError(
            f"{result.path}: {error}", path=result.path, reason=Reason.NO_FRAMES
        ) from error
    if len(indices) == 0:
        raise VideoError(
            f"{result.path}: the rule {rule.policy} finds no frame in the window "
            f"[{job['start_seconds']}, {job['end_seconds']}) of a video of "
            f"{timeline.end_of_last_frame:.2f} s",
            path=result.path,
            reason=Reason.NO_FRAMES,
        )
    decoded = read_frames(
        np.unique(indices),
        probe=result,
        options=FrameOptions.model_validate(job["frames"]),
        max_pixels=job["max_pixels"],
        allocate=output,
        progress=output.worker.heartbeat,
    )
    return decoded, indices


def _answer(
    decoded: DecodedFrames,
    indices: npt.NDArray[np.int64],
    result: ProbeResult,
    output: _Output,
) -> dict[str, Any]:
    frames_at = output.place_of(decoded.frames)
    indices = indices[np.isin(indices, decoded.frame_index)]  # salvaged: those that are there
    place = np.searchsorted(decoded.frame_index, indices)
    if len(indices) != len(decoded.frame_index):  # a rule that repeats frames
        repeated = output((len(indices), *decoded.frames.shape[1:]))
        np.take(decoded.frames, place, axis=0, out=repeated)
        frames_at = output.latest
    output((len(indices),), np.float64)[:] = decoded.pts_seconds[place]
    output((len(indices),), np.int64)[:] = indices
    return {
        "status": decoded.status,
        "reason": decoded.reason,
        "message": decoded.message,
        "detail": _detail(decoded, result, kept=len(indices)),
        "source": [*decoded.source, result.frames_counted, float(result.fps)],
        "arrays": [frames_at, output.latest - 1, output.latest],
        "kept": len(indices),
    }


def _detail(decoded: DecodedFrames, result: ProbeResult, *, kept: int) -> str:
    facts: dict[str, Any] = {
        "decoder": decoded.decoder,
        "codec": f"{result.codec} in {result.container}",
    }
    if decoded.attempts:
        facts["attempts"] = list(decoded.attempts)
    if decoded.reason:
        facts["fraction_kept"] = round(decoded.fraction_kept, 4)
    if kept > MANY_FRAMES:
        facts["frames"] = kept
    if result.skipped_at_start:
        facts["packets_before_first_keyframe"] = result.skipped_at_start
    return json.dumps(facts)


def _describe(result: ProbeResult) -> dict[str, Any]:
    return {
        "container": result.container,
        "codec": result.codec,
        "width": result.width,
        "height": result.height,
        "rotation": result.rotation,
        "fps_container": float(result.fps),
        "frames_from_header": result.frames_from_header,
        "frames_counted": result.frames_counted,
        "duration_seconds_from_header": result.duration_seconds_from_header,
        "keyframes": result.keyframes,
    }


def _refusal(error: VideoError) -> dict[str, Any]:
    return {
        "status": str(Status.QUARANTINED),
        "reason": str(error.reason),
        "message": str(error),
    }


def _stat(path: str) -> FileMark | None:
    """The file's mark; None where there is none to read (the probe says why)."""
    mark = FileMark.at(path)
    return mark if mark != FileMark() and os.access(path, os.R_OK) else None


def _check_content(job: dict[str, Any], worker: Worker) -> bool:
    """Raise where the bytes are not those that were listed; False: there are none to compare."""
    on_disk = _stat(job["path"])
    if on_disk is None or not job["content_hash"]:
        return False
    names = [field.name for field in dataclasses.fields(FileMark)]
    if FileMark(**{name: job[name] for name in names}).agrees(on_disk):
        return True
    if hash_file(job["path"], progress=worker.heartbeat) != job["content_hash"]:
        raise _changed(job["path"], "since the corpus was listed; run ingest again")
    return True


def _check_unchanged(path: str, before: FileMark | None, content_hash: str, worker: Worker) -> None:
    """Raise where the file was written while it was read; a new link or owner is no writing."""
    after = _stat(path)
    if before == after:
        return
    is_suspect = before is not None and after is not None and content_hash
    if is_suspect and hash_file(path, progress=worker.heartbeat) == content_hash:
        return
    raise _changed(path, "while it was read; run again when it is complete")


def _changed(path: str, words: str) -> VideoError:
    return VideoError(f"{path}: its bytes changed {words}", path=path, reason=Reason.CHANGED)
