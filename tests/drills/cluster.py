"""A Dask cluster whose machines share nothing but an object store: whole runs, machines lost.

    python -m tests.drills.cluster                    # moto's server: a run, a loss in each stage
    python -m tests.drills.cluster --server ceph      # Ceph's gateway, where it is installed
    python -m tests.drills.cluster --short            # what CI does: a loss in ingest and in embed

Videos and captions lie below one prefix, the store below another. The command, the scheduler and
two workers have each a disk of their own: in a namespace where no other one's is there, if this
machine allows it, and else folders of their own. A lost machine is every process of a worker that
has work, with SIGKILL, as soon as a stage has committed something; another one takes its place, as
an adaptive cluster would start it. Each run must end with the checksums of a run in threads on one
machine, no worker may spill, and none may have more memory than is said here, nor more with more
videos. Prints a table, and what each process had of memory at most; exits 1 where anything differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from distributed import Client

from reelvec.flows.dask_shards import workers_of
from tests.drills.ground import COMPARED, CONFIG, DrillError, Row, must, table
from tests.drills.kill import draw
from tests.drills.object_stores import parts
from tests.support import s3_server
from tests.support.dask_workers import NEVER_SPILLS, kept_in
from tests.support.programs import OUTBOUND, ROOT, Watched

VIDEOS = f"s3://{s3_server.BUCKET}/videos"
CORPUS = f"{{kind: folder, videos: {VIDEOS}, captions: {VIDEOS}/captions.csv}}"
STAGES = {"ingest": "corpus", "extract": "frames", "train": "", "embed": "embeddings"}
"""Stages that a machine is lost in, and what their parts are of; a training says its steps."""
KEPT = {"features": "features"}
"""As `STAGES`, of a training that has its towers' features kept first."""
FROZEN = ("train.freeze=backbone", "model.options.sim_header=seqTransf")
SECONDS = 1200.0  # the machine may be shared
LOOK_SECONDS, MEMORY_SECONDS = 0.2, 2.0
WORKERS = 2
MOST_MIB = {"worker": 1280, "scheduler": 320, "command": 640}
"""That a machine may have: torch once in each process, and a worker that has encoded and trains has
two of them."""
FEW, GROWTH_MIB = 8, 32
"""MiB that a worker may have more with four times as many videos: 60 more of frames pass it."""
HEAVY = (
    "model.architecture=ViT-L/14@336px",
    "extract.size=336",
    "extract.sampling={policy: uniform, count: 16}",
)
UNTRAINED = ("train.epochs=0", "train.nodes=1")
DASK = {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
DASK |= {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "null"}
PRIVATE = 'mount --bind "$1" "$2" && mount -t tmpfs none "$3" && cd "$2" && shift 3 && exec "$@"'
"""The own disk $1 at $2, and of the others' below $3 nothing."""


def has_namespaces():
    """Whether processes may be given disks of their own here."""
    trial = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    with suppress(FileNotFoundError):
        return subprocess.run(trial, check=False, capture_output=True).returncode == 0
    return False


class Machine:
    """A process and its children, with a home, a temporary folder and a cache of their own."""

    def __init__(self, ground, name, command):
        self.name, self.watched, self.peak = name, Watched(), 0
        disk = ground.machines / name
        for part in ("home", "tmp", "cache", "work"):
            (disk / part).mkdir(parents=True, exist_ok=True)
        prefix, seen = [], disk
        if ground.private:
            seen = ground.mounted
            words = [str(disk), str(seen), str(ground.machines)]
            prefix = ["unshare", "-rm", "sh", "-c", PRIVATE, "sh", *words]
        places = {"HOME": f"{seen}/home", "TMPDIR": f"{seen}/tmp"}
        places |= {"REELVEC_CACHE": f"{seen}/cache", "PWD": f"{seen}/work"}
        self.log = (ground.folder / f"{name}.log").open("w")
        environment = self.watched.environment(f"{seen}/home", **DASK, **ground.server, **places)
        environment |= {
            "PYTHONPATH": os.pathsep.join([OUTBOUND, str(ROOT / ".editable"), str(ROOT)])
        }
        self.process = subprocess.Popen(
            [*prefix, "env", "-C", f"{seen}/work", *command], env=environment, cwd=disk,
            stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True,
        )  # fmt: skip

    def look(self):
        """Note what its processes have of memory together, shared pages once."""
        with suppress(psutil.Error):
            main = psutil.Process(self.process.pid)
            used = 0
            for process in (main, *main.children(recursive=True)):
                with suppress(psutil.Error):
                    used += process.memory_full_info().pss
            self.peak = max(self.peak, used)

    def lose(self):
        """SIGKILL to all of it at one moment, as when the power goes."""
        with suppress(psutil.Error):
            family = [psutil.Process(self.process.pid)]
            family += family[0].children(recursive=True)
            for process in family:
                with suppress(psutil.Error):
                    process.suspend()
        self.watched.kill()
        self.process.wait()

    @property
    def words(self):
        """All that it has said."""
        return Path(self.log.name).read_text()

    @property
    def said(self):
        return self.words[-1500:]


@dataclass
class Ground:
    """The object store with the videos in it, and the machines."""

    folder: Path
    server: dict[str, str]
    sets: tuple[str, ...] = ()
    private: bool = field(default_factory=has_namespaces)
    running: list = field(default_factory=list)
    started: int = 0

    def __post_init__(self):
        self.machines, self.mounted = self.folder / "machines", self.folder / "own"
        self.machines.mkdir()
        self.mounted.mkdir()
        os.environ.update(self.server)
        os.environ["REELVEC_CACHE"] = str(self.folder / "cache")
        draw(self.folder, config=CONFIG)
        videos = sorted((self.folder / "videos").iterdir())
        upload(videos, "videos")
        upload([video for video in videos if video.suffix != ".csv"][:FEW], "few")
        self.known = {}

    def wanted(self, sets):
        """What a run in threads on one machine comes to."""
        if sets not in self.known:
            store = str(self.folder / f"local-{len(self.known)}")
            self.command("alone", store, "train.processes=2", *sets)
            self.end()
            self.known[sets] = found(store)
        return self.known[sets]

    def start(self, name, *command):
        """A machine, of a name that no other one has had."""
        self.started += 1
        self.running.append(Machine(self, f"{name}-{self.started}", command))
        return self.running[-1]

    def command(self, name, store, *sets, stages=()):
        """A machine that runs the command."""
        given = (f"corpus={CORPUS}", "extract.shard_videos=4", *self.sets, *sets)
        changes = [word for change in given for word in ("--set", change)]
        changes += [word for stage in stages for word in ("--stage", stage)]
        run = [sys.executable, "-m", "reelvec.flows.cli", "run", str(CONFIG), "--store", store]
        return self.start(name, *run, "--json", *changes)

    def cluster(self):
        """A scheduler, and its address once it listens."""
        host = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        file = "scheduler.json"
        scheduler = self.start("scheduler", *dask("scheduler", *host, "--scheduler-file", file))
        path = self.machines / scheduler.name / "work" / file
        wait(lambda: path.exists() and path.read_text().endswith("}"), scheduler, "scheduler")
        return json.loads(path.read_text())["address"]

    def worker(self, address):
        words = ("--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--host", "127.0.0.1")
        name = f"worker-{self.started + 1}"
        return self.start("worker", *dask("worker", address, *words, "--name", name))

    def end(self):
        """The last machine's command to its end, which must be a good one."""
        machine = self.running[-1]
        out, _ = machine.process.communicate(timeout=SECONDS)
        must(machine.process.returncode == 0, f"exit {machine.process.returncode}: {machine.said}")
        return json.loads(out)

    def stop(self):
        """All that runs."""
        for machine in self.running:
            machine.watched.kill()
            machine.process.wait()
            machine.log.close()
        self.running.clear()


def dask(*words):
    return (sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:])


class looking:
    """Looks at the memory of machines now and then while the block runs: looking costs, too."""

    def __init__(self, machines, seconds):
        self._machines, self._seconds, self._over = machines, seconds, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._over.wait(self._seconds):
            for machine in list(self._machines):
                machine.look()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def wait(happened, machine, what):
    """Until it has happened, while the machine is at work; who asks takes part of the server."""
    until = time.monotonic() + SECONDS
    while not happened():
        must(machine.process.poll() is None, f"ended before {what}: {machine.said}")
        must(time.monotonic() < until, f"no {what} in {SECONDS:.0f} s: {machine.said}")
        time.sleep(LOOK_SECONDS)


def upload(files, prefix):
    client = s3_server.client()
    for file in files:
        client.upload_file(str(file), s3_server.BUCKET, f"{prefix}/{file.name}")


def found(store):
    """What a run came to: checksums of the tables, and the metrics."""
    import reelvec
    from reelvec.tasks.runs.status import describe_store

    kinds = (*COMPARED, "features")
    tables = {a.kind: a.checksum for a in describe_store(store) if a.kind in kinds}
    return tables, list(map(repr, reelvec.open(store).run().metrics()))


def begun(stage, store, command):
    """How far a stage is, in words; "": it has committed nothing, or not said a step, yet."""
    if stage == "train":
        steps = [line for line in command.words.splitlines() if " steps " in line]
        return f"training's step {steps[-1].split()[1]}" if steps else ""
    count = parts(store, (STAGES | KEPT)[stage])
    return f"{count} parts of {stage}" if count else ""


def at_work(workers, client):
    """The place of a worker that has work, and whether any has."""
    names = {address: known["name"] for address, known in workers_of(client).items()}
    busy = [names.get(address) for address, keys in client.processing().items() if keys]
    places = [place for place, worker in enumerate(workers) if worker.name in busy]
    return places[0] if places else 0, bool(places)


def run(ground, lost_in=(), sets=()):
    """A run on a cluster of two workers, of which one is lost in each of these stages."""
    wanted = ground.wanted(sets)
    ground.stop()
    store = f"s3://{s3_server.BUCKET}/store-{ground.started}"
    address = ground.cluster()
    workers = [ground.worker(address) for _ in range(WORKERS)]
    on_dask = ("runner=dask", f"dask_address={address}")
    nodes = () if ground.sets else (f"train.nodes={WORKERS}",)
    command = ground.command("command", store, *on_dask, *nodes, *sets)
    done = []
    with Client(address) as client, looking(ground.running, MEMORY_SECONDS):
        for stage in lost_in:
            wait(lambda name=stage: begun(name, store, command), command, stage)
            place, busy = at_work(workers, client)
            workers.pop(place).lose()
            done.append(f"{begun(stage, store, command)}{'' if busy else ' (it had no work)'}")
            workers.append(ground.worker(address))
            ground.running.append(ground.running.pop(ground.running.index(command)))
        ground.end()
        never_spills(client)
    tables, metrics = found(store)
    other = [kind for kind, checksum in wanted[0].items() if tables.get(kind) != checksum]
    must(not other, f"differs from a run in threads: {', '.join(other)}")
    must(metrics == wanted[1], "other metrics than those of a run in threads")
    return "; ".join([*(f"lost after {what}" for what in done), memory(ground)])


def never_spills(client):
    """What each worker keeps its results in, as it says itself."""
    for worker, kept in client.run(kept_in).items():
        must(kept == NEVER_SPILLS, f"{worker} may spill or be paused: {kept}")


def memory(ground):
    """MiB that each kind of machine had at most, which must be bounded."""
    peaks: dict[str, int] = {}
    for machine in ground.running:
        kind = machine.name.partition("-")[0]
        peaks[kind] = max(peaks.get(kind, 0), machine.peak >> 20)
    for kind, peak in peaks.items():
        must(peak > 0, f"nobody has seen what {kind} had")
        must(peak <= MOST_MIB[kind], f"{kind} had {peak} MiB, more than {MOST_MIB[kind]}")
    return "MiB at most: " + ", ".join(f"{kind} {peak}" for kind, peak in peaks.items())


def grow(ground):
    """A worker's memory while it ingests and extracts few large videos, and four times as many."""
    peaks = []
    for prefix in ("few", "videos"):
        store = f"s3://{s3_server.BUCKET}/store-{ground.started}"
        address = ground.cluster()
        worker = ground.worker(address)
        corpus = f"corpus={{kind: folder, videos: s3://{s3_server.BUCKET}/{prefix}}}"
        sets = (corpus, "runner=dask", f"dask_address={address}", *HEAVY)
        ground.command("command", store, *sets, stages=("ingest", "extract"))
        with looking(ground.running, LOOK_SECONDS):
            ground.end()
        peaks.append(worker.peak >> 20)
        ground.stop()
    seen = f"a worker had {peaks[0]} MiB at most, with four times as many videos {peaks[1]}"
    must(peaks[1] - peaks[0] <= GROWTH_MIB, seen)
    return seen


def drills(*, short):
    """(name, what is done) of each row."""

    def lost(*stages, sets=()):
        return lambda ground: run(ground, stages, sets)

    if short:
        return [("a machine lost in ingest and embed", lost("ingest", "embed"))]
    alone = [(f"a machine lost in {stage}", lost(stage)) for stage in STAGES]
    return [
        ("left alone", lost()),
        *alone,
        ("a machine lost in features", lost("features", sets=FROZEN)),
        ("one lost in each stage", lost(*STAGES)),
        ("four times the videos", grow),
    ]


def rows_of(ground, options):
    for name, do in drills(short=options.short):
        if options.only not in name:
            continue
        row = Row(name)
        try:
            row.seen = do(ground)
        except (DrillError, subprocess.TimeoutExpired) as error:
            row.wrong = " ".join(str(error).split())
        finally:
            ground.stop()
        print(f"{row.name}: {row.wrong or row.seen}", file=sys.stderr, flush=True)
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=("moto", "ceph"), default="moto")
    parser.add_argument("--short", action="store_true", help="what CI does")
    parser.add_argument("--only", default="", help="words of a row's name")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="reelvec-cluster-"))
    place = folder / "server"
    place.mkdir()
    try:
        with s3_server.any_server(options.server, place) as server:
            ground = Ground(folder, server, UNTRAINED if options.short else ())
            try:
                rows = list(rows_of(ground, options))
            finally:
                ground.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    own = "disks of their own" if ground.private else "folders of their own"
    print(f"{options.server}; machines with {own}\n")
    sys.exit(0 if table(rows) else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
