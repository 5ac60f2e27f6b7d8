"""What test_sandbox runs in a worker: one function, told by the job how to behave."""

import ctypes
import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np


def behave(job, worker):
    return BEHAVIOURS[job["do"]](job, worker)


def _answer(job, worker):
    out = worker.allocate((job["n"], 3))
    out[:] = job["n"] % 256
    more = worker.allocate((2,), np.float64)
    more[:] = (job["n"], -1.5)
    time.sleep(job.get("sleep", 0))
    facts = {"pid": os.getpid(), "threads": threading.active_count(), "cwd": os.getcwd()}
    return {"n": job["n"], **facts}


def _sleep(job, worker):
    while True:
        time.sleep(0.01)
        worker.heartbeat()


def _work(job, worker):
    until = time.process_time() + job["seconds"]
    while time.process_time() < until:
        worker.heartbeat()
    return {}


def _stall(job, worker):
    """Holds the interpreter's lock in native code: no Python runs here any more."""
    ctypes.PyDLL(None).sleep(1000)


def _abort(job, worker):
    sys.stderr.write("free(): invalid pointer")
    sys.stderr.flush()
    os.abort()


def _abort_once(job, worker):
    try:
        os.close(os.open(job["marker"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {"n": 1}
    os.abort()


def _eat(job, worker):
    """Resident memory, in steps, by a way that Python's allocator does not see."""
    held = []
    while True:
        held.append(np.ones(4 * 2**20))
        worker.heartbeat()
        time.sleep(0.02)


def _gulp(job, worker):
    return {"sum": float(np.ones(2**33).sum())}


def _too_much(job, worker):
    worker.allocate((2**40,))
    return {}


def _fill(job, worker):
    """More than memory may hold, frame by frame, with signs of life as a decoder gives them."""
    out = worker.allocate((job["frames"], 2**20))
    for number, frame in enumerate(out):
        frame[:] = number % 251
        worker.heartbeat()
    worker.allocate((2,), np.int64)[:] = (job["frames"], 7)
    return {"pid": os.getpid()}


def _pages(job, worker):
    """Pages the kernel cleared for pictures like those that were there before."""
    pages = []
    for _ in range(4):
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        pictures = [np.ones(2**20, np.uint8) for _ in range(4)]
        pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
        del pictures
    return {"pages": pages[1:]}


def _raise(job, worker):
    raise ValueError("a bug of the target")


def _child(job, worker):
    child = subprocess.Popen(["sleep", "1000"])
    with open(job["pidfile"], "w") as file:
        file.write(str(child.pid))
    _sleep(job, worker)


BEHAVIOURS = {
    "answer": _answer,
    "modules": lambda job, worker: {"there": [name in sys.modules for name in job["names"]]},
    "sleep": _sleep,
    "work": _work,
    "stall": _stall,
    "abort": _abort,
    "abort_once": _abort_once,
    "eat": _eat,
    "gulp": _gulp,
    "too_much": _too_much,
    "fill": _fill,
    "pages": _pages,
    "raise": _raise,
    "child": _child,
    "exit": lambda job, worker: os._exit(3),
}
