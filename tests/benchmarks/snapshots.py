"""How large the snapshots of a large store become: bytes of them and of the layers they share.

    python -m tests.benchmarks.snapshots [--videos 10000000] [--nights 1000]

A table in parts of the default size (64 clips) that hold nothing, and so many nights that each
publish one part more; in every other night one old video is replaced, too, in a part drawn at
random. CPU seconds a night beside the bytes, and what a snapshot with every entry in it would have.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from reelvec.storage.records import Outcome
from tests.benchmarks.growth import _commit, session_of

SEEN = (1, 10, 100, 1000)
"""Nights after which a line is printed."""


def generate(frames, *, parts):
    """A table of `parts` parts with a key each."""
    frames.publish(
        add=[_commit(frames, "frames", f"{n:x}", [Outcome(str(n))]) for n in range(parts)]
    )


def night(frames, number, *, parts, draw):
    """One part more and, every other night, an old key replaced by it."""
    old = [str(draw.randrange(parts))] if number % 2 else []
    added = [Outcome(key) for key in [f"new-{number}", *old]]
    receipt = _commit(frames, "frames", f"night-{number}", added)
    frames.publish(add=[receipt], supersede={"frames": old} if old else {})


def bytes_of(folder):
    """Of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=10_000_000)
    parser.add_argument("--nights", type=int, default=1000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reelvec-snapshots-") as folder:
        session = session_of(Path(folder))
        parts = -(-options.videos // session.config.extract.shard_videos)
        frames, draw = session.frames, random.Random(0)
        generate(frames, parts=parts)
        store = Path(session.config.store) / frames.folder
        print(f"{options.videos:,} videos in {parts:,} parts")
        print("| nights | snapshots, MB | layers, MB | CPU s a night |\n| --- | --- | --- | --- |")
        begun, last = time.process_time(), 0
        for number in range(1, options.nights + 1):
            night(frames, number, parts=parts, draw=draw)
            if number in SEEN or number == options.nights:
                cpu = (time.process_time() - begun) / (number - last)
                sizes = (bytes_of(store / name) / 1e6 for name in ("snapshots", "layers"))
                print(
                    f"| {number:,} | {next(sizes):.1f} | {next(sizes):.1f} | {cpu:.3f} |",
                    flush=True,
                )
                begun, last = time.process_time(), number


if __name__ == "__main__":
    main(sys.argv[1:])
