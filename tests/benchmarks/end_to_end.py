"""From a folder of videos to a table: `reelvec embed` beside what others run.

    python -m tests.benchmarks.end_to_end [--clips 60] [--model tiny|ViT-B/32] [--distinct 24]
        [--originals FOLDER] [--keep 12] [--rivals pyav torchcodec clip-video-encode] [--rounds 1]

Clips of 5 to 10 s, 320x240 to 640x480 (`_clips`), or those of a folder, as many files of other
bytes as are wanted, and a broken one; a frozen CLIP with random weights, one frame a second, of
which it reads twelve: the scripts decode those, ours keeps them all, or the number of `--keep`. The
rivals: the script a good engineer writes (`_script.py`: a pool of PyAV or torchcodec processes,
torch, parts it can go on from), and clip-video-encode's loop (`_clip_video_encode.py`: what stands
in for its model, and what it leaves out). One that is not installed, or does not load, has a line
that says so. CPU seconds are of whole process trees, MB of the largest process; what a way wrote is
deleted before the next begins. Scenarios, each from the state the one before left: the first run;
nothing changed; one video added; then, from nothing, killed at half the first run's clock and run
again, both together. The vectors of all are compared with ours: the median cosine and the least
are printed, since each resizes in its own way. Quote the ratios, and the load.
"""

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import reelvec
from reelvec.models.clip.architecture import architecture
from reelvec.models.registry import ZERO_SHOT, build
from tests.benchmarks import _clips
from tests.benchmarks._installed import missing
from tests.benchmarks._trees import tree_cost

SCRIPT = Path(__file__).with_name("_script.py")
LOOP = Path(__file__).with_name("_clip_video_encode.py")
FRAMES = 12


@dataclass(frozen=True)
class Way:
    """One way to embed a folder into an output."""

    name: str
    words: object
    """(folder of videos, output folder) -> command."""
    vectors: object
    """output folder -> file name -> vector."""


def save_weights(path, *, name):
    """A CLIP of that size with random numbers, as an archive that both can read."""
    torch.manual_seed(0)
    sizes = architecture(name)
    model = build(ZERO_SHOT, options={}, architecture=sizes, max_words=32, max_frames=FRAMES)
    torch.save(model.clip.state_dict(), path)
    return sizes.image_size


def ours(weights, *, keep):
    kept = [] if keep is None else ["--set", f"extract.sampling.max_frames={keep}"]

    def words(videos, out):
        command = [sys.executable, "-m", "reelvec.flows.cli", "embed", str(videos)]
        return [*command, "--weights", weights, "--store", str(out), *kept]

    def vectors(out):
        ids, values = reelvec.open(str(out)).run().videos.numpy()
        return {Path(one).stem: value for one, value in zip(ids.tolist(), values, strict=True)}

    return Way("reelvec embed", words, vectors)


def theirs(weights, *, size, reader):
    def words(videos, out):
        options = ["--size", str(size), "--reader", reader]
        return [sys.executable, str(SCRIPT), str(videos), weights, str(out), *options]

    def vectors(out):
        with np.load(out / "table.npz") as table:
            rows = zip(table["names"].tolist(), table["vectors"], strict=True)
            return {Path(name).stem: vector for name, vector in rows}

    return Way(f"script, {reader}", words, vectors)


def clip_video_encode(weights, *, size):
    def words(videos, out):
        return [sys.executable, str(LOOP), str(videos), weights, str(out), "--size", str(size)]

    def vectors(out):
        found = {}
        for path in out.glob("*.npy"):
            frames = np.load(path)
            mean = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).mean(axis=0)
            found[path.stem.rstrip(".")] = mean / np.linalg.norm(mean)
        return found

    return Way("clip-video-encode", words, vectors)


RIVALS = {
    "pyav": ("av", partial(theirs, reader="pyav")),
    "torchcodec": ("torchcodec.decoders", partial(theirs, reader="torchcodec")),
    "clip-video-encode": ("video2numpy.frame_reader", clip_video_encode),
}
"""Name -> the module that has to load, and the way."""
NO_PACKAGE = "video_features: not here: PyPI has no package of it"


def scenarios(way, *, out, videos, more, log):
    """Yields (name, cost), in an order that each builds on; `more` is the video that is added."""
    whole, killed = way.words(videos, out / "whole"), way.words(videos, out / "killed")
    first = tree_cost(whole, log=log)
    yield "first run", first
    yield "nothing changed", tree_cost(whole, log=log)
    (videos / more.name).hardlink_to(more)
    yield "one added", tree_cost(whole, log=log)
    (videos / more.name).unlink()
    ended = tree_cost(killed, kill_after=first.clock / 2, log=log)
    yield "killed halfway, run again", ended + tree_cost(killed, log=log)


def corpus(given, work):
    """The folder of videos, one of them broken, and a folder with one more."""
    if given.originals is None:
        first = _clips.originals(work / "originals", count=min(given.distinct, given.clips))
    else:
        first = sorted(p for p in given.originals.iterdir() if p.suffix in (".mp4", ".mkv"))
    *paths, last = _clips.multiplied(first, work / "videos", count=given.clips + 1)
    _clips.broken(paths[0], work / "videos")
    (work / "more").mkdir()
    return work / "videos", last.rename(work / "more" / last.name)


def measured(given, work):
    """way -> scenario -> least cost of the rounds; and the tables of each."""
    videos, more = corpus(given, work)
    weights, log = str(work / "weights.pt"), work / "log"
    size = save_weights(weights, name=given.model)
    ways = [ours(weights, keep=given.keep)]
    print(NO_PACKAGE)
    for rival in given.rivals:
        module, way = RIVALS[rival]
        if reason := missing(module):
            print(f"{rival}: not here: {reason}", flush=True)
        else:
            ways.append(way(weights, size=size))
    least, tables = {way.name: {} for way in ways}, {}
    for number, way in enumerate(ways):  # so that its modules are compiled
        tree_cost(way.words(more.parent, work / f"compiled-{number}"), log=log)
    for number in range(given.rounds):
        for way in ways:
            out = work / f"out-{number}-{way.name.split()[-1]}"
            for name, cost in scenarios(way, out=out, videos=videos, more=more, log=log):
                print(f"{way.name}: {name}: {cost}", flush=True)
                least[way.name][name] = cost.least(least[way.name].get(name, cost))
            tables[way.name] = way.vectors(out / "whole")
            shutil.rmtree(out)
    return least, tables


def show(least, tables):
    (first, our), *_ = least.items()
    head = f"{'CPU s':>9}{'clock s':>9}{'MB':>7}{'ours / theirs: CPU':>20}{'clock':>8}"
    print(f"{'':<54}{head}")
    for scenario, ours_ in our.items():
        for way, costs in least.items():
            cost = costs[scenario]
            line = f"{way:<28}{scenario:<26}{cost.cpu:9.1f}{cost.clock:9.1f}{cost.peak:7.0f}"
            if way != first:
                line += f"{ours_.cpu / cost.cpu:20.2f}{ours_.clock / cost.clock:8.2f}"
            print(line)
    for way, table in tables.items():
        if way != first:
            shared = sorted(set(table) & set(tables[first]))
            cosines = [float(np.dot(table[key], tables[first][key])) for key in shared]
            agree = f"median cosine {np.median(cosines):.4f}, least {min(cosines):.4f}"
            print(f"{way}: {len(shared)} videos in both, {agree}")


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.end_to_end")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--distinct", type=int, default=24, help="of them encoded; others: copies")
    parser.add_argument("--model", default="tiny", help="tiny or ViT-B/32")
    parser.add_argument("--originals", type=Path, help="clips that are there, instead")
    parser.add_argument("--keep", type=int, help="frames of a clip in our store; none: all")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args(list(arguments))
    with tempfile.TemporaryDirectory() as folder:
        least, tables = measured(given, Path(folder))
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"{given.clips} clips and a broken one, {given.model}, load {load:.1f}, {cores} cores")
    show(least, tables)


if __name__ == "__main__":
    main(sys.argv[1:])
