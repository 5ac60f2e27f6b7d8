"""A decoding target whose decoder can be told to go wrong; for test_faults only."""

import ctypes
import os
import time

import numpy as np

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.video.decoders import READERS, read_frames
from reelvec.storage.video.probe import probe


def decode(job, worker):
    reader = BEHAVIOURS.get(job.get("behaviour"))
    if reader is not None:
        READERS["selective"] = lambda reading: reader(worker)
    read_frames(
        np.array([0, 25]),
        probe=probe(job["path"], progress=worker.heartbeat),
        options=FrameOptions(size=job["size"]),
        allocate=worker.allocate,
        progress=worker.heartbeat,
    )
    return {}


def _sleeps(worker):
    while True:
        time.sleep(0.01)
        worker.heartbeat()


def _stalls(worker):
    ctypes.PyDLL(None).sleep(1000)


def _aborts(worker):
    os.abort()


def _eats(worker):
    held = []
    while True:
        held.append(np.ones(2**20))
        worker.heartbeat()
        time.sleep(0.002)


def _refused(worker):
    raise MemoryError  # as the kernel's limit says it, when that is faster than the owner's watch


BEHAVIOURS = {
    "sleeps": _sleeps,
    "stalls": _stalls,
    "aborts": _aborts,
    "eats": _eats,
    "refused": _refused,
}
