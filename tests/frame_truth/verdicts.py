"""What Reelvec's pipeline gives of a file, beside the reference."""

from dataclasses import dataclass

import numpy as np

from reelvec.configs.schema import ExtractConfig, SamplingConfig
from reelvec.storage.records import Video
from reelvec.storage.video.transform import fit
from reelvec.tasks.decoding.files import ClipJob, decode_clips, probe_files
from tests.frame_truth import code

SIZE = 224
ROUNDING = 16
"""Levels of 255 that a channel may be off (docs/notes/decoding-and-stores.md 1.1)."""
TIME_SLACK = 0.0015
"""Seconds a time may be off: containers round to a millisecond, each end once."""


@dataclass(frozen=True, eq=False)
class Ours:
    """What Reelvec made of one file."""

    outcome: str
    """ok, salvaged or quarantined."""
    reason: str
    message: str
    seen: tuple[code.Seen | None, ...]
    times: np.ndarray
    frames: np.ndarray


def extracted(paths, *, policy="per_second", count=12, workers=1, listed=False):
    """`Ours` of each path, as `reelvec extract` decodes it; `listed`: after ingest has probed."""
    sampling = SamplingConfig(policy=policy, count=count)
    options = ExtractConfig(sampling=sampling, size=SIZE, resize="pillow")
    jobs = [ClipJob(clip_key=str(path), path=str(path)) for path in paths]
    if listed:
        rows = probe_files([Video("v", job.path) for job in jobs], limits=options)
        jobs = [ClipJob.from_video(row, clip_key=row.path) for row in rows]
    for result in decode_clips(jobs, options=options, workers=workers):
        outcome = result.outcome
        yield Ours(
            outcome=str(outcome.status),
            reason=str(outcome.reason),
            message=outcome.message,
            seen=tuple(code.read(frame) for frame in result.frames),
            times=result.pts_seconds.copy(),
            frames=result.frames.copy(),
        )


def fault(ours, truth, *, refused, picks):
    """What is wrong with it, in words; "": nothing.

    Args:
        truth: of the same file; None where ffmpeg shows nothing.
        refused: the file is of a kind that must be refused.
        picks: indices in `truth` of the frames that are right.
    """
    if refused or truth is None:
        if ours.outcome != "quarantined":
            return f"silent: {ours.outcome} with {shown(ours.seen)}, not refused"
        return "" if ours.reason and ours.message else "refused without a word"
    if ours.outcome != "ok":
        return f"refused: {ours.reason}: {ours.message[-300:]}"
    wanted = [truth.seen[i] for i in picks]
    if list(ours.seen) != wanted:
        return f"frames: right {shown(wanted)}, seen {shown(ours.seen)}"
    off = np.abs(ours.times - truth.times[picks]).max()
    if off > TIME_SLACK:
        right = np.round(truth.times[picks], 3).tolist()
        return f"times: off by {off:.3f} s; right {right}, seen {np.round(ours.times, 3).tolist()}"
    return ""


def grade(faults):
    """ "fails" where all of them are refusals of a good file, else "silent" or "wrong"."""
    if any(fault.startswith("silent") for fault in faults):
        return "silent"
    return "fails" if all(fault.startswith("refused") for fault in faults) else "wrong"


def picks_of(truth, policy, count):
    """Indices of the frames that are right; none where nothing is shown."""
    if truth is None:
        return []
    return truth.one_a_second() if policy == "per_second" else truth.evenly(count)


def numbers_of(ask, path):
    """What the frames say that `ask` gives of the file."""
    return [code.read(frame) for frame in ask(path)]


def shown(seen):
    return ", ".join(str(one) if one else "?" for one in seen)


def levels_off(ours, truth, picks):
    """Largest difference of a channel to the reference's pictures, resized by Pillow; levels."""
    worst = 0
    for frame, index in zip(ours.frames, picks, strict=True):
        square = np.empty_like(frame)
        fit(truth.pictures[index], size=len(frame), out=square, how="pillow")
        worst = max(worst, int(np.abs(frame.astype(int) - square).max()))
    return worst
