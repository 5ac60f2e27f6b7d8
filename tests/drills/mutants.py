"""Hundreds of videos with random damage through ingest and extract: each ends once, with a reason.

    python -m tests.drills.mutants --videos 200

Small real encodes of ten kinds are mutated (bytes changed, ends cut, noise put in; some left whole)
and ingested and extracted as a folder corpus. The counts must reconcile, no decoder may hang (30 s
a clip), crash or take more than 1 GiB, no stage may end with an error (exit code 70 of a command),
and the parts must hold exactly the clips that are ok or salvaged. Prints a table of outcomes, the
longest clip and the most memory a decoder took; exits 1 where anything is off.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.storage.frames.formats import open_reader
from reelvec.storage.reasons import Reason, Status
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.corpus.ledger import counts, ledger
from tests.support import media
from tests.support.engine_free import run_extract, run_ingest

KINDS = (
    "h264_mp4", "h264_mkv", "h264_avi_no_b", "h264_flv", "mpeg4_avi", "mpeg2_ts", "av1_mkv",
    "vp9_webm", "hevc_mkv", "wmv2_asf",
)  # fmt: skip
DEADLINE = 30.0
"""Seconds a clip may take."""
MEMORY_MB = 1024
"""Resident memory a decoder may take, MiB."""
KILLED = (Reason.TIMEOUT, Reason.NO_PROGRESS, Reason.MEMORY, Reason.CRASHED)
"""Reasons that say a decoder had to be ended, or ended itself."""


def mutate(data, rng):
    """Whole, or with bytes changed, its end cut, noise put in."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 5, 50])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    if rng.random() < 0.2:
        at = rng.randrange(len(data) + 1)
        data[at:at] = rng.randbytes(rng.randrange(500))
    return bytes(data)


def write_mutants(folder, *, videos, seed):
    """`videos` files in `folder`."""
    rng = random.Random(seed)
    folder.mkdir()
    for number in range(videos):
        source = media.video(rng.choice(KINDS))
        name = f"{number:04d}-{source.stem}{source.suffix}"
        (folder / name).write_bytes(mutate(source.read_bytes(), rng))


def config_of(folder, *, damaged):
    return PipelineConfig.model_validate(
        {
            "store": str(folder / f"store-{damaged}"),
            "corpus": {"kind": "folder", "videos": str(folder / "videos")},
            "extract": {
                "size": 64, "shard_videos": 64, "damaged": damaged,
                "deadline_seconds": DEADLINE, "memory_mb": MEMORY_MB,
                "max_failed_fraction": 1.0,
                "sampling": {"policy": "uniform", "count": 4},
            },
        }
    )  # fmt: skip


def run(folder, *, videos, damaged, seed=0):
    """Ledger rows, and what is wrong with what was written (a list of sentences)."""
    if not (folder / "videos").exists():
        write_mutants(folder / "videos", videos=videos, seed=seed)
    config = config_of(folder, damaged=damaged)
    run_ingest(config)
    _, frames = run_extract(config)
    corpus = read_corpus(Session(config))
    rows = list(ledger(corpus, frames=frames))
    return rows, list(_wrong(rows, frames, planned=videos))


def _wrong(rows, frames, *, planned):
    found = counts(rows).to_json()
    outcomes = found["ok"] + found["salvaged"] + found["quarantined"]
    if not planned == found["planned"] == outcomes:
        yield f"counts do not reconcile: {found} of {planned}"
    for row in rows:
        if (row.status == Status.OK) != (row.reason == ""):
            yield f"{row.video_id} is {row.status} for the reason ({row.reason})"
        if row.reason in KILLED:
            yield f"{row.video_id}: {row.reason}: {row.message}"
        if row.status != Status.OK and not row.message:
            yield f"{row.video_id} is {row.status} without a word of a decoder"
    held = Counter()
    for part in frames.parts("frames"):
        shard = open_reader(part.path)
        held.update({key: len(shard.frames(i)) for i, key in enumerate(shard.keys)})
        shard.close()
    usable = {row.clip_key for row in rows if row.status in (Status.OK, Status.SALVAGED)}
    if set(held) != usable:
        yield f"parts hold {len(set(held) - usable)} other clips, lack {len(usable - set(held))}"
    if not all(held.values()):
        yield "a clip in a part has no frames"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = []
    print("| policy | outcome | reason | videos |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="reelvec-mutants-") as folder:
        for damaged in ("strict", "salvage"):
            started = time.monotonic()
            rows, found = run(
                Path(folder), videos=options.videos, damaged=damaged, seed=options.seed
            )
            wrong += found
            table = Counter((row.status, row.reason) for row in rows)
            for (status, reason), count in sorted(table.items()):
                print(f"| {damaged} | {status} | {reason} | {count} |")
            print(f"| {damaged} | all | {time.monotonic() - started:.0f} s | {len(rows)} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"most memory of a decoder's process: {peak} MiB of {MEMORY_MB} allowed")
    for line in wrong:
        print(line)
    print(f"{len(wrong)} things wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
