"""A real run of many short clips, end to end with the tiny encoder, and the nights after it.

    python -m tests.benchmarks.whole_run --videos 100000 [--folder FOLDER]

A few hundred one-second clips of 64 pixels are drawn in four container and codec kinds. The others
are copies with a box behind their last that holds their number: other bytes, another hash, decoded
as any file. The command line does stage by stage what a first night does, then all of it again,
then a night that finds one clip more, and one that finds nothing new. CPU seconds and the peak of
the largest process are of whole process trees; microseconds a video beside them. A run of other
stages than the last one's goes through them all: only the last line is a night without work. Ends
with an error where not every clip became a row.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._trees import python, reelvec, tree_cost

DRAWN = 240
A_FOLDER = 1000
FIRST_NIGHT = ("ingest", "extract", "train", "embed")


def behind(suffix, number):
    """A box of no meaning with the number in it, as the container spells one."""
    value = number.to_bytes(8, "big")
    if suffix == ".avi":
        return b"JUNK" + len(value).to_bytes(4, "little") + value
    if suffix in (".mkv", ".webm"):
        return b"\xec" + bytes([0x80 | len(value)]) + value  # EBML Void
    return (8 + len(value)).to_bytes(4, "big") + b"free" + value


DRAW = """
import json, sys
from reelvec.configs.corpora import SyntheticCorpus
from reelvec.storage.corpora import open_corpus

source = SyntheticCorpus(videos=int(sys.argv[2]), seconds=1.0, fps=8, size=64)
listing = open_corpus(source, store_dir=sys.argv[1]).read()
print(json.dumps([video.path for video in listing.videos]))
"""


def write(videos, drawn, numbers):
    """One clip a number, all different."""
    for number in numbers:
        data, suffix = drawn[number % len(drawn)]
        folder = videos / f"{number // A_FOLDER:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"clip-{number:08d}{suffix}"
        (folder / name).write_bytes(data + behind(suffix, number))


def originals(folder, count):
    """Bytes and suffix of the drawn clips; drawn by another process, whose memory is not ours."""
    drawing = [*python("-c", DRAW), str(folder), str(count)]
    told = subprocess.run(drawing, check=True, stdout=subprocess.PIPE).stdout
    paths = map(Path, json.loads(told))
    return [(path.read_bytes(), path.suffix) for path in paths]


def configure(folder):
    """The run's file: a random tiny encoder, 4 frames a clip."""
    file = folder / "run.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "whole",
                "store": str(folder / "store"),
                "corpus": {"kind": "folder", "videos": str(folder / "videos")},
                "extract": {"size": 64, "sampling": {"policy": "uniform", "count": 4}},
                "model": {"family": "frozen", "architecture": "tiny", "max_frames": 4},
                "train": {"epochs": 0},
            }
        )
    )
    return file


def rows_of(folder):
    """Rows of the embedding tables in force."""
    from reelvec.storage.commits.artifact import Artifact
    from reelvec.storage.roots import open_root

    (tables,) = [
        artifact
        for artifact in Artifact.all(open_root(folder / "store"))
        if artifact.kind == "embeddings"
    ]
    return tables.latest().rows_of("videos")


def line(name, videos, command):
    cost = tree_cost(command)
    each = 1e6 * cost.cpu / videos
    print(
        f"| {name} | {cost.cpu:.1f} | {cost.clock:.1f} | {cost.peak:,.0f} | {each:,.0f} |",
        flush=True,
    )


def measure(folder, videos):
    drawn = originals(folder / "drawn", min(DRAWN, videos))
    write(folder / "videos", drawn, range(videos))
    file = str(configure(folder))
    print(f"{videos:,} clips, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("| what | CPU s | clock s | largest process, MB | CPU µs a video |")
    print("| --- | --- | --- | --- | --- |")
    for stage in FIRST_NIGHT:
        line(stage, videos, reelvec("run", file, "--stage", stage))
    stages = [word for stage in FIRST_NIGHT for word in ("--stage", stage)]
    line("all four again: nothing to do", videos, reelvec("run", file, *stages))
    write(folder / "videos", drawn, [videos])
    line("one clip more", videos, reelvec("run", file, *stages))
    line("the night after it: nothing new", videos, reelvec("run", file, *stages))
    rows = rows_of(folder)
    print(f"{rows:,} rows")
    if rows != videos + 1:
        sys.exit(f"{videos + 1 - rows:,} clips have no row: `reelvec failures`")


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="empty; it is kept (default: a temporary one)")
    options = parser.parse_args(arguments)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        measure(options.folder, options.videos)
        return
    with tempfile.TemporaryDirectory(prefix="reelvec-whole-") as name:
        measure(Path(name), options.videos)


if __name__ == "__main__":
    main(sys.argv[1:])
