"""From files to their sound, through the sandbox; nothing here raises for a bad file."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import FileLimits, SoundForm
from reelvec.storage.records import Outcome
from reelvec.storage.sandbox.pool import SandboxResult
from reelvec.tasks.decoding.copies import Copied
from reelvec.tasks.decoding.files import ClipJob, pool_of, quarantined, run_jobs

__all__ = ["SoundOptions", "SoundResult", "decode_sounds"]


class SoundOptions(FileLimits):
    """How sound is read from files."""

    form: SoundForm = SoundForm()
    damaged: Literal["strict", "salvage"] = "strict"
    """As of frames: strict quarantines damaged sound, salvage keeps it up to the damage."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundResult:
    """The result of one ClipJob; no sample where it is quarantined, never silence."""

    clip_key: str
    outcome: Outcome
    """Ledger row; a file without a sound track is quarantined as no_audio_stream."""
    samples: npt.NDArray[np.float32]
    """[N], one channel, at the form's rate."""
    start_seconds: float
    """Of the first sample, since the first picture of the file; 0 where there is none."""
    seconds: float
    """Wall time of the job, waiting for a worker left out."""


def decode_sounds(
    jobs: Iterable[ClipJob],
    *,
    options: SoundOptions,
    workers: int = 1,
    scratch: Path | None = None,
) -> Generator[SoundResult]:
    """Decode the sound of `jobs` in sandboxed workers; one result each, in their order.

    Close the iterator (or exhaust it) to end the workers; the rest is as of `decode_clips`.

    Raises:
        ZygoteError: no worker process can be started on this machine.
    """
    results = run_jobs(
        jobs,
        target="reelvec.tasks.decoding.worker:decode_sound",
        shared={
            "sound": options.form.model_dump(mode="json"),
            "salvage": options.damaged == "salvage",
            "max_pixels": options.max_pixels,
        },
        pool=pool_of(options, workers=workers, scratch=scratch),
    )
    with contextlib.closing(results):
        for one, result in results:
            yield _sound_result(one, result)


def _sound_result(one: Copied[ClipJob], result: SandboxResult) -> SoundResult:
    answer = result.value or quarantined(result)
    answer |= {name: one.words(answer[name]) for name in ("message", "detail") if name in answer}
    start = answer.pop("sound_start", None)
    return SoundResult(
        clip_key=one.of.clip_key,
        outcome=Outcome(key=one.of.clip_key, attempts=result.attempts, **answer),
        samples=np.zeros(0, np.float32) if start is None else result.arrays[0],
        start_seconds=start or 0.0,
        seconds=result.seconds,
    )
