"""The life of one sandbox worker: take a job, run the target, answer, until the socket closes."""

from __future__ import annotations

import dataclasses
import fcntl
import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from reelvec.storage.sandbox.lifeline import die_with_parent
from reelvec.storage.sandbox.slots import SlotWriter

__all__ = ["READY", "Target", "Worker", "live"]

READY = b"ready"
"""A worker's first line: its target is imported."""


class Worker:
    """Given to a target beside its job: memory for results, and a heartbeat."""

    def __init__(self, slot: SlotWriter) -> None:
        self._slot = slot

    def heartbeat(self) -> None:
        """Say that work goes on; cheap enough for every packet."""
        self._slot.beat()

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        """An array that goes back with the answer, in the order allocated.

        Raises:
            MemoryError: over the size a result may have.
        """
        return self._slot.allocate(shape, dtype)


Target = Callable[[dict[str, Any], Worker], dict[str, Any]]
"""A function of a job (JSON values only) and its worker; its answer is JSON values too."""


def live(target: str, fds: list[int], *, options: Any, parent: int) -> NoReturn:
    """Run the worker in a fresh fork; ends the process.

    Args:
        target: "package.module:function".
        fds: socket to the owner, file for what is written to stderr, and those of the slot.
        options: memory_mb, max_result_bytes.
        parent: process id of the zygote.
    """
    code = 1
    try:
        os.setsid()  # with whatever it starts, one group to kill
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _quiet(fds[1])
        _limit(options["memory_mb"])
        slot = SlotWriter(fds[2:], max_bytes=options["max_result_bytes"])
        _serve(_find(target), socket.socket(fileno=fds[0]), slot)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: say it and end
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def _serve(function: Target, owner: socket.socket, slot: SlotWriter) -> None:
    worker = Worker(slot)
    slot.beat()
    owner.sendall(READY + b"\n")
    for line in owner.makefile("rb"):
        slot.clear()
        slot.beat()
        answer = _answer(function, json.loads(line), worker)
        places = slot.places if "value" in answer else ()  # half a result is none
        answer["arrays"] = [dataclasses.astuple(place) for place in places]
        owner.sendall(json.dumps(answer).encode() + b"\n")


def _answer(function: Target, job: dict[str, Any], worker: Worker) -> dict[str, Any]:
    try:
        return {"value": function(job, worker)}
    except MemoryError as error:
        return {"reason": "memory", "message": str(error) or "out of memory"}
    except Exception as error:  # noqa: BLE001 - a bug of the target is one job's result, told in full
        return {"reason": "error", "message": f"{type(error).__name__}: {error}"}


def _find(target: str) -> Target:
    module, _, name = target.partition(":")
    function: Target = getattr(importlib.import_module(module), name)
    return function


def _quiet(messages: int) -> None:
    """Close input and output; keep what libraries write to stderr for the owner to quote."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    flags = fcntl.fcntl(messages, fcntl.F_GETFL)
    fcntl.fcntl(messages, fcntl.F_SETFL, flags | os.O_APPEND)
    os.dup2(messages, 2)


def _limit(memory_mb: int) -> None:
    """The kernel's own limits, behind the owner's: private memory, no core files; one thread."""
    used_pages = int(_statm()[5])
    limit = used_pages * resource.getpagesize() + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _statm() -> list[str]:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - not a path of ours
        return file.read().split()
