"""Calls in a forked process of their own: what hangs or crashes there costs one answer."""

import multiprocessing
import os
import resource
from dataclasses import dataclass
from typing import Any

LIMIT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What came back."""

    value: Any = None
    error: str = ""
    """Why nothing did."""
    fatal: bool = False
    """The process is gone."""
    cpu_seconds: float = 0.0
    """User and system, child processes included."""


def each(function, calls):
    """The answer to `function(*arguments)` for each of `calls`, in order.

    One fork makes them all, ahead of who asks; after one that hung or crashed, another goes on.
    """
    context, left = multiprocessing.get_context("fork"), list(calls)
    while left:
        mine, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_run, args=(theirs, function, left))
        child.start()
        theirs.close()
        try:
            answer = Answer()
            while left and not answer.fatal:
                answer = _next(mine, child)
                left.pop(0)
                yield answer
        finally:
            mine.close()
            child.kill()
            child.join()
            child.close()


def _next(pipe, child):
    try:
        if pipe.poll(LIMIT_SECONDS):
            return pipe.recv()
        return Answer(error=f"no answer in {LIMIT_SECONDS} s", fatal=True)
    except EOFError:
        child.join()
        return Answer(error=f"the process ended with exit code {child.exitcode}", fatal=True)


def _run(pipe, function, calls):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print what they complain of
    for arguments in calls:
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
