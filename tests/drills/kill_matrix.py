"""SIGKILL at every write point by name, then the same stage again: nothing lost, nothing doubled.

    python -m tests.drills.kill_matrix --kills 100

A store is grown: a whole run, then videos come, change and go, and the second run is the one that
is killed. Each stage is first run on a copy to the end, which names its write points (each fsync,
link and delete, before and after) and gives the checksums to be reached. Then, for one point after
the other, a child process runs it on a fresh copy and kills itself there; the stage is run again;
checksums are compared and the store is verified. Production code knows nothing of it: the child
replaces the `os` that storage.places.local calls. Prints a table of write points; exits 1 where
anything differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.places import local
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.compaction import compact
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.train import train
from tests.drills.bitflips import config_of, draw
from tests.support.engine_free import run_all, run_embed, run_extract, run_ingest


def _compact(config):
    for artifact in Artifact.all(open_root(config.store)):
        compact(artifact)


def _gc(config):
    gc(open_root(config.store), options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))


def _train(config):
    train(Session(config))


STAGES = {
    "ingest": run_ingest,
    "extract": run_extract,
    "train": _train,
    "embed": run_embed,
    "compaction": _compact,
    "gc": _gc,
}


class Points:
    """Names the write points as they are passed; the process dies at the one it was told."""

    def __init__(self, *, die_at=None):
        self.names = []
        self._die_at = die_at

    def reach(self, what, path):
        if len(self.names) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(f"{what} {_kind(Path(path))}")

    def install(self):
        """In this process, for good: it is a child that ends soon."""
        local.os = _System(self)
        for verb in ("put_new", "put_file", "delete"):
            setattr(LocalRoot, verb, self._around(verb, getattr(LocalRoot, verb)))

    def _around(self, verb, original):
        def put(root, path, *rest):
            self.reach(f"before {verb} of", path)
            original(root, path, *rest)
            self.reach(f"after {verb} of", path)

        def delete(root, *paths):
            for path in paths:  # a kill may come between two of them
                self.reach("before delete of", path)
                original(root, path)
                self.reach("after delete of", path)

        return delete if verb == "delete" else put


class _System:
    def __init__(self, points):
        self._points = points

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self._points.reach("before fsync of", path)
        os.fsync(descriptor)
        self._points.reach("after fsync of", path)

    def link(self, source, target):
        self._points.reach("before link of", target)
        os.link(source, target)
        self._points.reach("after link of", target)


def _kind(path):
    """ "part", "receipt", "snapshot"… for files, "folder" for folders."""
    if path.parent.name == ".scratch":
        return "scratch file"
    if path.name == "identity.json":
        return "identity"
    if path.parent.parent.name == "aliases":
        return "alias"
    known = ("parts", "receipts", "snapshots", "removals", "pins")
    return path.parent.name[:-1] if path.parent.name in known else "folder"


def in_child(work):
    """Runs `work` in a forked process; its exit status (-9: killed), its helpers ended too."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # decoding workers it left behind
    return os.waitstatus_to_exitcode(status)


def work(stage, config, *, die_at=None, names=None):
    points = Points(die_at=die_at)
    points.install()
    STAGES[stage](config)
    if names is not None:
        names.write_text(json.dumps(points.names))


def must(code, what):
    if code:
        sys.exit(f"{what} ended with {code}")


def at(config, store):
    return config.model_copy(update={"store": str(store)})


def result(store):
    """What must be equal: every artifact's checksum, and a healthy store."""
    damage = [found.path for found in verify_store(open_root(store))]
    found = {f"{a.kind}": a.latest().checksum for a in Artifact.all(open_root(store))}
    return found, damage


def prepare(folder):
    """{stage: (store before it, names of its write points, result after it)} of the second run."""
    videos, captions = draw(folder, videos=8)
    config = config_of(folder, folder / "store")
    captions(videos[:5])
    must(in_child(partial(run_all, config)), "the first run")
    shutil.copy(videos[7], folder / "videos" / Path(videos[1]).name)  # changed
    captions(videos[1:7])  # one is gone, two are new
    prepared = {}
    for stage, again in STAGES.items():
        before = folder / f"before-{stage}"
        shutil.copytree(config.store, before)
        if stage == "train":  # trained in the first run already
            shutil.rmtree(before / "checkpoint")
        after, names = folder / "after", folder / "names"
        shutil.copytree(before, after)
        must(in_child(partial(work, stage, at(config, after), names=names)), stage)
        prepared[stage] = (before, json.loads(names.read_text()), result(after))
        shutil.rmtree(after)
        must(in_child(partial(again, config)), stage)
    return config, prepared


def choose(prepared, *, kills, rng):
    """(stage, point) pairs: each named point once, stages in turn, then others by chance."""
    first, more = {}, []
    for stage, (_, names, _) in prepared.items():
        for number in rng.sample(range(len(names)), len(names)):
            if first.setdefault((stage, names[number]), number) != number:
                more.append((stage, number))
    chosen = [(stage, number) for (stage, _), number in first.items()]
    rng.shuffle(chosen)
    of_stage = Counter()
    turns = [of_stage.update([stage]) or of_stage[stage] for stage, _ in chosen]
    chosen = [pair for _, pair in sorted(zip(turns, chosen, strict=True), key=lambda row: row[0])]
    rng.shuffle(more)
    return (chosen + more)[:kills]


def is_same(config, prepared, stage, number, *, folder):
    """Killed there and run again: the checksums of an undisturbed run, and a healthy store."""
    before, _, wanted = prepared[stage]
    hurt = folder / "hurt"
    shutil.copytree(before, hurt)
    try:
        code = in_child(partial(work, stage, at(config, hurt), die_at=number))
        if code != -signal.SIGKILL:
            sys.exit(f"{stage} was to be killed at point {number}, but ended with {code}")
        must(in_child(partial(STAGES[stage], at(config, hurt))), f"{stage} after a kill")
        return result(hurt) == wanted
    finally:
        shutil.rmtree(hurt)


def run(kills, *, seed, folder):
    """{(stage, point): Counter(points, kills, same)} over the whole matrix."""
    rng = random.Random(seed)
    config, prepared = prepare(folder)
    table = {}
    for stage, (_, names, _) in prepared.items():
        for name, count in Counter(names).items():
            table[stage, name] = Counter(points=count)
    for count, (stage, number) in enumerate(choose(prepared, kills=kills, rng=rng), 1):
        name = prepared[stage][1][number]
        same = is_same(config, prepared, stage, number, folder=folder)
        table[stage, name].update(kills=1, same=same)
        words = "equal" if same else "DIFFERENT"
        print(f"kill {count:>3}: {stage}, {name}: {words}", file=sys.stderr, flush=True)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelvec-matrix-") as folder:
        table = run(options.kills, seed=options.seed, folder=Path(folder))
    print("| stage | write point | points | kills | equal after the next run |")
    print("| --- | --- | --- | --- | --- |")
    for (stage, point), row in table.items():
        print(f"| {stage} | {point} | {row['points']} | {row['kills']} | {row['same']} |")
    total = sum(table.values(), Counter())
    print(f"| all | | {total['points']} | {total['kills']} | {total['same']} |")
    sys.exit(0 if total["kills"] == total["same"] > 0 else 1)


if __name__ == "__main__":
    main()
