"""kill -9 at random moments, then the same command: nothing lost, nothing doubled.

    python -m tests.drills.kill --kills 10

Runs a small pipeline once without a kill, then again in another store, killing the whole process
tree at random moments of extract, train and embed, and compares the checksums of all tables. The
Prefect server stands apart and is not killed, as in production. Prints a table; exits 1 where
anything differs.
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support.prefect_server import prefect_server

CONFIG = Path(__file__).parents[1] / "resources" / "kill.yaml"
STAGES = ("extract", "train", "embed")
COMPARED = ("corpus", "frames", "checkpoint", "embeddings")
TIMEOUT = 600.0


def command(store):
    """The run; all stores read the same videos, so that their corpus tables can be compared."""
    videos = store.parent / "videos"
    corpus = f"{{kind: folder, videos: {videos}, captions: {videos / 'captions.csv'}}}"
    run = [
        sys.executable,
        "-m",
        "reelvec.flows.cli",
        "run",
        str(CONFIG),
        "--set",
        f"corpus={corpus}",
    ]
    return [*run, "--store", str(store), "--json"]


def draw(folder, *, config=CONFIG):
    """The videos of every run, drawn once, with their captions and splits."""
    from reelvec.configs import load
    from reelvec.storage.corpora import open_corpus

    listing = open_corpus(load(config).corpus, store_dir=folder / "drawn").read()
    videos = folder / "videos"
    videos.mkdir()
    splits = {}
    for video in listing.videos:
        shutil.move(video.path, videos / Path(video.path).name)
        splits[video.video_id] = video.split
    with (videos / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "caption", "split"])
        for caption in listing.captions:
            writer.writerow([caption.video_id, caption.text, splits[caption.video_id]])


def start(store, log):
    return subprocess.Popen(
        command(store), stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
    )


def kill_tree(process):
    """SIGKILL to the process and all below it, whatever sessions they made."""
    try:
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            psutil.Process(process.pid),
        ]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=10)


def newest(store, kind, what):
    """When the newest file of an artifact kind appeared; None while there is none."""
    found = [path.stat().st_mtime for path in store.glob(f"{kind}/*/{what}/*")]
    return max(found, default=None)


def stage_now(store):
    """The stage a run is in, told from what lies in its store."""
    if newest(store, "corpus", "snapshots") is None:
        return "ingest"
    if newest(store, "frames", "snapshots") is None:
        return "extract"
    if not any(store.glob("embeddings/*/identity.json")):
        return "train"
    if newest(store, "embeddings", "snapshots") is None:
        return "embed"
    return "done"


def checksums(store):
    """{kind: checksum of the latest snapshot} as `reelvec status --json` tells it."""
    out = subprocess.run(
        [sys.executable, "-m", "reelvec.flows.cli", "status", "--store", str(store), "--json"],
        check=True,
        capture_output=True,
    ).stdout
    artifacts = json.loads(out)["artifacts"]
    return {a["kind"]: a["checksum"] for a in artifacts if a["kind"] in COMPARED}


def durations(log):
    """Seconds of each stage of the undisturbed run."""
    summary = json.loads(log)
    return {stage["stage"]: stage["seconds"] for stage in summary["stages"]}


def finish(store):
    done = subprocess.run(command(store), check=False, capture_output=True, timeout=TIMEOUT)
    if done.returncode:
        sys.exit(f"the run after the kills failed ({done.returncode}):\n{done.stderr.decode()}")
    return done.stdout


def kill_in(stage, store, *, seconds, rng, log):
    """Run until `stage`, wait a random part of its length, kill; what stage was hit."""
    process = start(store, log)
    deadline = time.monotonic() + TIMEOUT
    while stage_now(store) != stage:
        if process.poll() is not None or stage_now(store) == "done":
            kill_tree(process)
            return "done"
        if time.monotonic() > deadline:
            kill_tree(process)
            sys.exit(f"stage {stage} did not begin within {TIMEOUT:.0f} s")
        time.sleep(0.02)
    time.sleep(rng.uniform(0, seconds))
    hit = stage_now(store)
    kill_tree(process)
    return hit


def run(kills, seed, folder):
    """Rounds of one kill a stage in one store each, every round ended and compared."""
    rng = random.Random(seed)
    draw(folder)
    whole = folder / "whole"
    seconds = durations(finish(whole))
    wanted = checksums(whole)
    print(f"undisturbed: {seconds}", flush=True)
    different, killed = 0, 0
    with (folder / "log").open("wb") as log:
        while killed < kills:
            hurt = folder / f"hurt-{killed}"
            for stage in STAGES[: kills - killed]:
                hit = kill_in(stage, hurt, seconds=seconds[stage], rng=rng, log=log)
                killed += 1
                print(f"kill {killed:>3}: aimed at {stage:<8} hit {hit}", flush=True)
            finish(hurt)
            found = checksums(hurt)
            for kind in COMPARED:
                equal = found[kind] == wanted[kind]
                different += not equal
                print(f"  {kind:<11} {found[kind]} {'equal' if equal else 'DIFFERENT'}", flush=True)
            shutil.rmtree(hurt)
    print(f"{killed} kills, {different} differences")
    return different == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reelvec-kill-"))
    try:
        with prefect_server(folder) as url:
            os.environ["PREFECT_API_URL"] = url
            os.environ["PREFECT_HOME"] = str(folder / "prefect")
            same = run(options.kills, options.seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
