"""`decode_clip` with a clock; each decoder imports it, so it imports no more than that does."""

import os
import time

from reelvec.tasks.decoding.worker import decode_clip

TARGET = "tests.benchmarks._clocked:clocked_clip"
FILE = "REELVEC_CLOCKED"
"""The variable that names the file of (process, begin, end)."""


def clocked_clip(job, worker):
    """`decode_clip`, which adds its process, its begin and its end to a file."""
    begun = time.monotonic()
    try:
        return decode_clip(job, worker)
    finally:
        with open(os.environ[FILE], "a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {begun} {time.monotonic()}\n")
