"""Events a worker sends to its supervisor: JSON objects, one a line, on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from reelvec.tasks.training.heartbeat import Beat

__all__ = ["Reporter", "emit", "emit_beat", "parse"]

_EVENT = "reelvec"
_MARK = f'{{"{_EVENT}":'
_LONGEST = 3000  # a line below PIPE_BUF reaches the pipe whole, whoever else writes


def emit(event: str, **fields: Any) -> None:
    """Write one event; long texts are cut."""
    plain = {k: v[-_LONGEST:] if isinstance(v, str) else v for k, v in fields.items()}
    sys.stdout.write(json.dumps({_EVENT: event, **plain}) + "\n")
    sys.stdout.flush()


def emit_beat(beat: Beat) -> None:
    """Write a beat, past the buffer of stdout, which belongs to the training's thread."""
    os.write(sys.stdout.fileno(), (json.dumps({_EVENT: "beat", **beat.as_dict()}) + "\n").encode())


def parse(line: str) -> dict[str, Any] | None:
    """The event of a line as `{"event": name, …}`; None: the line is none."""
    if not line.startswith(_MARK):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return {"event": fields.pop(_EVENT), **fields}


class Reporter:
    """Step events, a few a second at most, with speed and how much of the time was waiting."""

    def __init__(self, *, silent: bool, every_seconds: float = 0.5) -> None:
        self._silent = silent
        self._every = every_seconds
        self._since = time.perf_counter()
        self._samples = 0
        self._waited = 0.0

    def step(self, *, samples: int, waited: float, last: bool, **fields: float) -> None:
        """One step was taken.

        Args:
            samples: pairs of its global batch.
            waited: seconds this process has waited for data since it began.
            last: say it whatever the time.
            fields: step, steps, epoch, loss, lr.
        """
        self._samples += samples
        now = time.perf_counter()
        passed = now - self._since
        if self._silent or (passed < self._every and not last):
            return
        emit(
            "step",
            **fields,
            samples_per_second=round(self._samples / max(passed, 1e-9), 1),
            data_wait=round((waited - self._waited) / max(passed, 1e-9), 3),
        )
        self._since, self._samples, self._waited = now, 0, waited

    def say(self, event: str, **fields: Any) -> None:
        """Any other event, at once."""
        if not self._silent:
            emit(event, **fields)
