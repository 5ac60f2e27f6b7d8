"""The lead in each step, in one run: ours, and the ways people use instead.

    python -m tests.benchmarks.side_by_side [--rounds 5] [STEP…]

Steps: decode, store, encode, publish, checkpoint, evaluate, search. CPU seconds of this process and
all its threads, medians of rounds in which all ways take turns; `store`, `evaluate` and `search`
print the tables of programs of their own (`frames`, `evaluation`, `search`). A ratio above 1 says
how many times as much another way takes as ours. Ways that are not installed are left out. Quote
the ratios, and the load.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import write_table
from reelvec.tasks.training.checkpoints import commit_contents
from tests.benchmarks import _script, checkpoints, evaluation, extraction, frames, training
from tests.benchmarks import search as search_benchmark
from tests.benchmarks._installed import missing
from tests.frame_truth.rivals import RIVALS

ROWS, NUMBERS = 512, 512
GIB = 0.25
EVALUATED, SEARCHED = 10_000, 100_000


def shown(step, ways, *, rounds):
    """A line a way: its CPU and clock seconds, and how many times ours it takes."""
    spent = {name: [] for name in ways}
    for way in ways.values():
        way()  # once, so that imports and caches count for nobody
    for _ in range(rounds):
        for name, way in ways.items():
            cpu, clock = time.process_time(), time.perf_counter()
            way()
            spent[name].append((time.process_time() - cpu, time.perf_counter() - clock))
    medians = {
        name: tuple(statistics.median(one[at] for one in costs) for at in (0, 1))
        for name, costs in spent.items()
    }
    ours = next(iter(medians.values()))
    print(f"\n{step:<52}{'CPU ms':>10}{'clock ms':>10}{'CPU, of ours':>14}")
    for name, (cpu, clock) in medians.items():
        print(f"  {name:<50}{1e3 * cpu:10.1f}{1e3 * clock:10.1f}{cpu / ours[0]:14.2f}", flush=True)


def decode(folder, rounds):
    """One frame a second of clips of a few seconds, 224 pixels, the wanted frames of each."""
    what, paths = extraction.corpus(folder)
    paths = [path for path in paths if path.stat().st_size < extraction.SHORT_BYTES]
    rivals = ("decord", "torchcodec exact", "OpenCV, in order", "OpenCV, a seek a frame")
    ways = {
        "reelvec, in this process": lambda: extraction.in_process(paths),
        "reelvec, by the packets that ingest kept": lambda: extraction.after_ingest(paths),
        "PyAV, every frame decoded, FFmpeg's scaler": lambda: [
            _script.read_pyav(path, 224) for path in paths
        ],
    }
    for name in rivals:
        rival = RIVALS[name]
        if rival.here:
            ways[name] = lambda rival=rival: [rival.one_a_second(path) for path in paths]
    shown(f"decode: {len(paths)} {what}", ways, rounds=rounds)


def store(folder, rounds):
    """From the store to a batch, raw: frames.py's table; all but ours verify nothing."""
    print("\nstore to batch", flush=True)
    frames.main(["--raw", "--rounds", str(rounds), "--folder", str(folder)])


def encode(_, rounds):
    """Frames and captions that are mostly padding, encoded with gradients off."""
    sizes, _, _ = training.FORMS["small"]
    config = training.TrainConfig(epochs=1)
    model = training.fresh(sizes, device="cpu", config=config).eval()
    for real in (3, 12):
        batch = training.drawn_batch(sizes, pairs=16, real=real)
        clips = model.prepare(batch.clips.frames, batch.clips.mask)
        pixels = torch.randn(16, training.FRAMES, 3, sizes.image_size, sizes.image_size)

        def packed(clips=clips):
            with torch.inference_mode():
                model.encode_video(**clips)

        def padded(pixels=pixels):
            with torch.inference_mode():
                training.originals_frames(model.clip.visual, pixels.flatten(0, 1))

        ways = {"reelvec, packed": packed, "padding encoded too": padded}
        shown(f"encode: 16 videos, {real} of {training.FRAMES} frames real", ways, rounds=rounds)

    def texts(batch=batch):
        with torch.inference_mode():
            model.encode_text(batch.tokens)

    def all_tokens(batch=batch):
        with torch.inference_mode():
            training.originals_texts(model.clip, batch.tokens)

    ways = {"reelvec, cut to what is there": texts, "32 tokens a caption": all_tokens}
    shown("encode: 16 captions of 4 to 17 tokens", ways, rounds=rounds)


def publish(folder, rounds):
    """512 rows of 512 numbers appended, until a reader sees them."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, NUMBERS)).astype(np.float32)
    ids = [f"video-{number}" for number in range(ROWS)]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), NUMBERS)
    table = pa.table({"video_id": ids, "embedding": lists})
    root = open_root(folder / "store")
    artifact = Artifact.open(root, kind="embeddings", identity={"of": "side by side"})
    number = iter(range(10**6))

    def ours():
        shard = f"{next(number):06d}"
        with artifact.new_part(table="videos", shard=shard, suffix=".parquet") as part:
            write_table(part.path, table, metadata={})
            rows = [Outcome(f"{shard} {name}") for name in ids]
            receipt = part.commit(rows=ROWS, outcomes=rows)
        artifact.publish(add=[receipt])

    def bare():
        """A file, synced, and a list of files, synced and renamed: no checksum, no rows."""
        name = folder / f"bare-{next(number)}.parquet"
        pq.write_table(table, name)
        synced(name)
        (folder / "next.json").write_text(json.dumps([str(name)]))
        synced(folder / "next.json")
        (folder / "next.json").rename(folder / "list.json")

    ways = {"reelvec, rows known and checked": ours, "Parquet and a list, nothing checked": bare}
    if not missing("lance"):
        lance = importlib.import_module("lance")
        ways["Lance, append"] = lambda: lance.write_dataset(
            table, str(folder / "lance"), mode="append"
        )
    shown(f"publish: {ROWS} rows of {NUMBERS} numbers", ways, rounds=rounds)


def synced(path):
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())


def checkpoint(folder, rounds):
    """What a step waits for: checkpoints.py says it beside running steps too."""
    tensors = checkpoints.state(GIB)
    root = open_root(folder / "store")
    artifact = Artifact.open(root, kind="checkpoint", identity={"of": "side by side"})
    number = iter(range(10**6))

    def ours():
        contents = checkpoints.contents(tensors, next(number))
        commit_contents(artifact, contents, config=ModelConfig(), seconds=0.0, keep_last=1)

    def plain():
        torch.save(tensors, folder / "next.pt")
        synced(folder / "next.pt")
        (folder / "next.pt").rename(folder / "last.pt")

    ways = {"reelvec, committed and verified": ours, "torch.save, synced, renamed": plain}
    shown(f"checkpoint: {GIB} GiB", ways, rounds=rounds)


def evaluate(_, rounds):
    """Both directions of all texts and videos, from their tables: evaluation.py's table, once."""
    del rounds
    print("\nevaluate: in times the bare product, each way", flush=True)
    evaluation.main(rows=EVALUATED)


def search(_, rounds):
    """The ten best of many videos: search.py's table, once."""
    del rounds
    print("\nsearch", flush=True)
    search_benchmark.main(rows=SEARCHED)


STEPS = {
    step.__name__: step for step in (decode, store, encode, publish, checkpoint, evaluate, search)
}


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.side_by_side")
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="STEP")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(list(arguments))
    torch.set_num_threads(1)
    for name in given.steps or STEPS:
        with tempfile.TemporaryDirectory() as folder:
            STEPS[name](Path(folder), given.rounds)
    print(f"\nload {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main(sys.argv[1:])
