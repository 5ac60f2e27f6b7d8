"""Ctrl-C, SIGTERM and SIGHUP end a command within ten seconds, with all that it started.

The first signal raises `Stopped` in the main thread and in every thread that works on a shard: each
unwinds, ends its processes and removes its scratch files. What has not ended after a few seconds (a
long native call, a library that swallows exceptions, a server that does not answer), and all of it
at a second signal, is killed: a store stands a kill at any moment.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["Stopped", "end_now", "ending_at_once", "stopping_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS = 6.0
_WORK = ("reelvec.tasks.", "reelvec.storage.")


class Stopped(BaseException):
    """A signal that ends the command; no Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A signal ends the process there and then, as nothing has been started yet.

    Else Ctrl-C while modules are read shows where in a library that was. Where this is the first
    that a program does, no signal changes its exit code once everything else has ended.
    """
    atexit.register(_leave_objects)  # last of all
    atexit.register(_hear_no_more)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, lambda told, _: os._exit(128 + told))
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _leave_objects() -> None:
    """At its end Python looks through all of torch's objects, half a second in vain.

    DuckDB complains on stderr of what is left, so where it is imported they are looked through.
    """
    if "torch" in sys.modules and "duckdb" not in sys.modules:
        gc.freeze()


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise `Stopped` on the first signal, and see to it that the process ends.

    A signal that is ignored (nohup, a shell's background job) stays ignored.
    """
    told, tell = socket.socketpair()  # the kernel's side of a handler may only write a byte
    tell.setblocking(False)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    before_told = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    for number in heeded:
        signal.signal(number, _stop)
    watch = threading.Thread(target=_watch, args=(told, tell), name="reelvec-signals", daemon=True)
    watch.start()
    try:
        yield
    except Stopped:  # the process is about to end: watched until it has
        raise
    except BaseException:
        _restore(before, before_told, tell, watch)
        raise
    _restore(before, before_told, tell, watch)


def _restore(
    before: Mapping[signal.Signals, object],
    before_told: int,
    tell: socket.socket,
    watch: threading.Thread,
) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    signal.set_wakeup_fd(before_told)
    tell.close()
    watch.join()


def _hear_no_more() -> None:
    """Python gives signals their default back in its last moments: one more would kill it there."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, _: FrameType | None) -> None:
    """The handler: later signals are the watch's alone."""
    for other in _SIGNALS:
        if signal.getsignal(other) is _stop:
            signal.signal(other, _leave_to_watch)
    raise Stopped(number)


def _leave_to_watch(_: int, __: FrameType | None) -> None:
    return


def _watch(told: socket.socket, tell: socket.socket) -> None:
    """Runs also while the main thread is in a native call, where no Python handler is called.

    `tell` is held as long as this runs: closed, it would say that the command has ended, while
    `Stopped` is still on its way to who writes the last words.
    """
    with told, tell:
        number = _next_signal(told)
        if not number:
            return
        _stop_workers()
        told.settimeout(_GRACE_SECONDS)
        with suppress(TimeoutError):
            _next_signal(told)
        end_now(128 + number)


def _next_signal(told: socket.socket) -> int:
    """Of the signals that end a command; 0: the command has ended.

    Raises:
        TimeoutError: none came while it was waited for.
    """
    while byte := told.recv(1):
        if byte[0] in _SIGNALS:
            return byte[0]
    return 0


def _stop_workers() -> None:
    """Raise `Stopped` in the threads that work on shards, whoever started them."""
    main = threading.main_thread().ident
    for thread, frame in sys._current_frames().items():
        if thread != main and _is_at_work(frame):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(Stopped)
            )


def _is_at_work(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_WORK):
            return True
        frame = frame.f_back
    return False


def end_now(code: int) -> NoReturn:
    """End this process and all that it started, without another word."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(OSError):
        os.write(2, b"\x1b[?25h" if os.isatty(2) else b"")  # a progress bar hides the cursor
    os._exit(code)
