"""A call in a forked process of its own: what hangs or crashes there costs one answer."""

import multiprocessing
import os
import resource
from dataclasses import dataclass
from typing import Any

LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """What came back."""

    value: Any = None
    error: str = ""
    """Why nothing did."""
    cpu_seconds: float = 0.0
    """User and system, child processes included."""


def apart(function, *arguments):
    """Call `function` in a fork of this process."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(theirs, function, arguments))
    child.start()
    theirs.close()
    try:
        if not mine.poll(LIMIT_SECONDS):
            return Answer(error=f"no answer in {LIMIT_SECONDS} s")
        return mine.recv()
    except EOFError:
        child.join()
        return Answer(error=f"the process ended with exit code {child.exitcode}")
    finally:
        mine.close()
        child.kill()
        child.join()
        child.close()


def _run(pipe, function, arguments):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print what they complain of
    before = _cpu_seconds()
    try:
        value = function(*arguments)
        answer = Answer(value=value, cpu_seconds=_cpu_seconds() - before)
    except Exception as error:  # each library has its own
        answer = Answer(error=f"{type(error).__name__}: {error}"[:500])
    pipe.send(answer)
    pipe.close()


def _cpu_seconds():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
