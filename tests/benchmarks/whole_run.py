"""A real run of many short clips, end to end with the tiny encoder, and the nights after it.

    python -m tests.benchmarks.whole_run --videos 10000 100000 [--folder FOLDER]

A few hundred one-second clips of 64 pixels are drawn in four container and codec kinds. The others
are copies with a box behind their last that holds their number: other bytes, another hash, decoded
as any file; each has a caption of its own. The command line does stage by stage what a first night
does, then all of it again, then a night that finds one clip more, and one that finds nothing new.
CPU seconds and the peak of the largest process are of whole process trees; the law is the exponent
p of N^p between the sizes before and this one. A run of other stages than the last one's goes
through them all: only the last line is a night without work. Ends with an error where not every
clip and caption became a row.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._trees import python, reelvec, tree_cost

DRAWN = 240
A_FOLDER = 1000
FIRST_NIGHT = ("ingest", "extract", "train", "embed", "evaluate", "report")
AGAIN, ONE_MORE, NOTHING_NEW = "all again: nothing to do", "one clip more", "the night after it"
KINDS = ("a red square", "two green circles", "a blue line", "a grey field")
DOES = ("falls", "turns", "grows", "goes left", "fades")


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


def write(folder, drawn, numbers):
    """One clip a number, all different, with a caption."""
    captions = folder / "captions.csv"
    is_new = not captions.exists()
    with captions.open("a") as file:
        if is_new:
            file.write("video_id,caption\n")
        for number in numbers:
            data, suffix = drawn[number % len(drawn)]
            name = f"{number // A_FOLDER:05d}/clip-{number:08d}"
            path = folder / "videos" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data + behind(suffix, number))
            file.write(f"{name},{KINDS[number % 4]} {DOES[number % 5]} in clip {number}\n")


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
                "corpus": {
                    "kind": "folder",
                    "videos": str(folder / "videos"),
                    "captions": str(folder / "captions.csv"),
                },
                "extract": {"size": 64, "sampling": {"policy": "uniform", "count": 4}},
                "model": {"family": "frozen", "architecture": "tiny", "max_frames": 4},
                "train": {"epochs": 0},
            }
        )
    )
    return file


def rows_of(folder):
    """Rows of the embedding tables in force, of videos and of captions."""
    from reelvec.storage.commits.artifact import Artifact
    from reelvec.storage.roots import open_root

    (tables,) = [
        artifact
        for artifact in Artifact.all(open_root(folder / "store"))
        if artifact.kind == "embeddings"
    ]
    latest = tables.latest()
    return latest.rows_of("videos"), latest.rows_of("captions")


def nights(folder, videos):
    """Yields (what, its cost)."""
    drawn = originals(folder / "drawn", min(DRAWN, videos))
    write(folder, drawn, range(videos))
    file = str(configure(folder))
    for stage in FIRST_NIGHT:
        yield stage, tree_cost(reelvec("run", file, "--stage", stage))
    stages = [word for stage in FIRST_NIGHT for word in ("--stage", stage)]
    yield AGAIN, tree_cost(reelvec("run", file, *stages))
    write(folder, drawn, [videos])
    yield ONE_MORE, tree_cost(reelvec("run", file, *stages))
    yield NOTHING_NEW, tree_cost(reelvec("run", file, *stages))


def measure(folder, videos, *, before):
    """Prints a line a night; `before` is (videos, what -> cost) of the size before, and returned
    of this one."""
    print(f"{videos:,} clips, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    print("| what | CPU s | law | clock s | largest process, MB | CPU µs a video |")
    print("| --- | --- | --- | --- | --- | --- |")
    costs = {}
    for what, cost in nights(folder, videos):
        costs[what], law = cost, ""
        if before is not None:
            grown = math.log(cost.cpu / before[1][what].cpu) / math.log(videos / before[0])
            law = f"{grown:.2f}"
        each = 1e6 * cost.cpu / videos
        print(
            f"| {what} | {cost.cpu:.1f} | {law} | {cost.clock:.1f} | {cost.peak:,.0f} |"
            f" {each:,.0f} |",
            flush=True,
        )
    rows, texts = rows_of(folder)
    print(f"{rows:,} rows of videos, {texts:,} of captions", flush=True)
    if (rows, texts) != (videos + 1, videos + 1):
        sys.exit(f"{videos + 1:,} clips with a caption each were there: see `reelvec failures`")
    return videos, costs


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[1000])
    parser.add_argument("--folder", type=Path, help="empty; it is kept (default: a temporary one)")
    options = parser.parse_args(arguments)
    before = None
    with tempfile.TemporaryDirectory(prefix="reelvec-whole-") as name:
        for videos in options.videos:
            folder = (options.folder or Path(name)) / str(videos)
            folder.mkdir(parents=True)
            before = measure(folder, videos, before=before)


if __name__ == "__main__":
    main(sys.argv[1:])
