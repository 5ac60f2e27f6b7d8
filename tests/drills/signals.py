"""Signals in every stage, to a run and to each of its children: how it ends, and what is left.

    python -m tests.drills.signals                # every case: about an hour
    python -m tests.drills.signals --cases 12

A small run is made once undisturbed, its store kept before each stage. Then, case by case, the
command runs on a copy, and something befalls it some way into the stage: a terminal's Ctrl-C (to
the whole foreground group), SIGHUP, SIGTERM, SIGKILL of the main process, of one child or of the
Prefect server it talks to, or all of it stands still for 5 or 30 seconds. Afterwards the same
command runs to its end; checksums are compared with those of the undisturbed run and the store is
verified. Prints a table; exits 1 where a run lasted more than ten seconds (thirty after its server
was killed), left a process, a socket or a file, or ended in other bytes.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from reelvec.configs import load
from reelvec.flows.alone import run_alone
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.settled import choose_stages
from reelvec.tasks.runs.status import describe_store
from tests.drills.kill import draw
from tests.support.prefect_server import prefect_server
from tests.support.programs import ROOT, Watched, watching

CONFIG = ROOT / "tests" / "resources" / "signals.yaml"
STAGES = choose_stages(None)
COMPARED = ("corpus", "frames", "checkpoint", "embeddings")
PATIENCE = 600.0  # seconds for what takes ten: the machine may be shared
LIMIT = 10.0  # seconds that a run may take to end
SERVED_LIMIT = 30.0  # seconds until it has seen that its Prefect server is gone, and ended

ENDING = {"int": signal.SIGINT, "hup": signal.SIGHUP, "term": signal.SIGTERM}
CODES = {"int": 130, "hup": 129, "term": 143, "kill main": -signal.SIGKILL}
CHILDREN = {
    "forker": "reelvec.storage.sandbox.zygote",
    "trainer": "reelvec.tasks.training.worker",
    "dask worker": "multiprocessing.spawn",
}
WAYS = {
    "1 process": [],
    "2 processes": ["train.processes=2"],
    "Dask": ["runner=dask"],
    "a Prefect server": [],
}


@dataclass(frozen=True)
class Case:
    """What befalls a run, in which stage, and how it is run."""

    stage: str
    action: str
    way: str


@dataclass
class Result:
    """What came of a case; `faults` names what must not be."""

    seconds: float = 0.0
    code: int | None = None
    left: int = 0
    faults: list[str] = field(default_factory=list)


def all_cases():
    """Every stage by every action; a way only in the stages that it changes."""
    one = ["1 process"]
    both = [*one, "Dask"]
    ways = {"start": both, "ingest": both, "extract": both, "train": [*one, "2 processes"]}
    ways |= {"embed": both, "evaluate": one, "report": one}
    cases = []
    for stage, each in ways.items():
        for way in each:
            actions = [*ENDING, "int twice", "kill main", "stop 5 s", "stop 30 s"]
            if stage in ("ingest", "extract"):
                actions += ["kill forker", "kill decoder"]
            if stage == "train":
                actions.append("kill trainer")
            if way == "Dask" and stage != "start":
                actions.append("kill dask worker")
            cases += [Case(stage, action, way) for action in actions]
    served = ["int", "term", "kill main", "kill server"]
    stages = ["extract", "train", "embed", "evaluate"]
    return cases + [Case(s, action, "a Prefect server") for s in stages for action in served]


class Ground:
    """The videos, the stores before each stage, and what an undisturbed run comes to."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        draw(folder, config=CONFIG)
        config = yaml.safe_load(CONFIG.read_text())
        videos = str(folder / "videos")
        captions = str(folder / "videos" / "captions.csv")
        config["corpus"] = {"kind": "folder", "videos": videos, "captions": captions}
        self.file = folder / "run.yaml"
        self.file.write_text(yaml.safe_dump(config))
        self.before = {}
        whole = folder / "whole"
        whole.mkdir()
        for stage in STAGES:
            self.before[stage] = folder / f"before-{stage}"
            shutil.copytree(whole, self.before[stage])
            self.finish(whole, stages=[stage])
        self.before["start"] = self.before["ingest"]
        self._wanted = {}

    def words(self, store, sets):
        """Of the command line."""
        changes = [word for change in sets for word in ("--set", change)]
        return ["run", str(self.file), "--store", str(store), *changes]

    def finish(self, store, *, sets=(), stages=STAGES):
        """Run to the end, in this process: its imports are paid."""
        config = load(self.file, overrides=[f"store={store}", *sets])
        with contextlib.redirect_stderr(io.StringIO()):
            run_alone(Session(checked_config(config)), only=stages)

    def kept(self, case, what):
        """Where something of a case that went wrong is kept."""
        return self.folder.parent / f"{case.stage}-{case.action}-{case.way}.{what}"

    def result(self, store):
        """Checksums of the tables, and damaged files."""
        found = {a.kind: a.checksum for a in describe_store(str(store)) if a.kind in COMPARED}
        return found, [damage.path for damage in verify_store(open_root(str(store)))]

    def wanted(self, way):
        """What an undisturbed run comes to; two processes round in another way than one."""
        sets = WAYS[way] if way == "2 processes" else []
        key = tuple(sets)
        if key not in self._wanted:
            store = self.folder / "undisturbed"
            shutil.copytree(self.before["train"], store)
            self.finish(store, sets=sets)
            self._wanted[key] = self.result(store)
            shutil.rmtree(store)
        return self._wanted[key]

    def meet(self, case, *, rng):
        """Do what the case says, look what is left, run again, compare."""
        store, temporary = self.folder / "store", self.folder / "temporary"
        shutil.copytree(self.before[case.stage], store)
        temporary.mkdir()
        try:
            result = self._disturb(case, store, temporary, rng=rng)
            self.finish(store, sets=WAYS[case.way])
            other = differences(self.result(store), self.wanted(case.way))
            if other:
                shutil.copytree(store, self.kept(case, "store"))
            result.faults += other
            return result
        finally:
            shutil.rmtree(store)
            shutil.rmtree(temporary)

    def _disturb(self, case, store, temporary, *, rng):
        marker, log = temporary / "marker", self.folder / "log"
        words = self.words(store, WAYS[case.way])
        at = "ingest" if case.stage == "start" else case.stage
        command = [sys.executable, "-m", "tests.drills.at_stage", str(marker), at, *words]
        watched = Watched()
        environment = watched.environment(self.folder) | {"TMPDIR": str(temporary)}
        environment["PYTHONPATH"] += f":{ROOT}"
        with self._server(case) as server, log.open("w") as file:
            main = subprocess.Popen(
                command, cwd=self.folder, env=environment | server, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
            return self._befall(case, main, watched, marker=marker, rng=rng, ground=(store, log))

    @contextlib.contextmanager
    def _server(self, case):
        """The setting that names the Prefect server of this case, while it stands."""
        if case.way != "a Prefect server":
            yield {}
            return
        with (
            tempfile.TemporaryDirectory(prefix="reelvec-server-") as folder,
            prefect_server(Path(folder)) as url,
        ):
            yield {"PREFECT_API_URL": url}

    def _befall(self, case, main, watched, *, marker, rng, ground):
        store, log = ground
        try:
            with watching(main.pid, watched):
                begun = self._wait(case, main, marker, rng=rng)
                result = act(case, main)
            if not begun:
                result.faults.append("ended before the stage began")
            marker.unlink(missing_ok=True)
            check(case, result, watched, store=store, temporary=marker.parent)
            if result.faults:
                shutil.copy(log, self.kept(case, "log"))
            return result
        finally:
            watched.kill()
            main.wait()

    def _wait(self, case, main, marker, *, rng):
        """Until some way into the stage; whether it is got into."""
        if case.stage == "start":
            time.sleep(rng.uniform(1.5, 4.0))
            return True
        until = time.monotonic() + PATIENCE
        while not marker.exists():
            if main.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.01)
        marker.unlink()
        time.sleep(rng.uniform(0.0, 4.0 if case.stage == "train" else 0.6))
        return True


def differences(found, wanted):
    """What is not as in the undisturbed run: checksums by kind, damaged files."""
    (checksums, damaged), (wanted_checksums, wanted_damaged) = found, wanted
    kinds = sorted(checksums.keys() | wanted_checksums.keys())
    other = [kind for kind in kinds if checksums.get(kind) != wanted_checksums.get(kind)]
    faults = [f"other bytes: {', '.join(other)}"] if other else []
    return faults + [f"damaged: {path}" for path in damaged if path not in wanted_damaged]


def act(case, main):
    """Let it happen; the result once the main process has ended."""
    started = time.monotonic()
    kind, _, what = case.action.partition(" ")
    if kind in ENDING:
        with contextlib.suppress(ProcessLookupError):
            send = os.kill if kind == "term" else os.killpg  # a terminal tells the whole group
            send(main.pid, ENDING[kind])
            if what == "twice":
                time.sleep(0.3)
                send(main.pid, ENDING[kind])
    elif kind == "stop":
        stand_still(main, seconds=float(what.split()[0]))
    elif what == "main":
        main.kill()
    elif what == "server":
        kill_server(main)
    else:
        kill_child(main, what)
    code = main.wait(PATIENCE)
    return Result(seconds=time.monotonic() - started, code=code)


def family(main):
    """The process and all below it."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(main.pid)
        return [process, *process.children(recursive=True)]
    return []


def stand_still(main, *, seconds):
    """Stop every process, as a machine does that sleeps, and let them go on."""
    stopped = family(main)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in stopped:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def kill_server(main):
    """SIGKILL to the Prefect server that the main process talks to."""
    with contextlib.suppress(psutil.Error):
        url = psutil.Process(main.pid).environ()["PREFECT_API_URL"]
        kill_listener(int(url.rpartition(":")[2].partition("/")[0]))


def kill_listener(port):
    """SIGKILL to whoever listens on a port."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
            if port in [connection.laddr.port for connection in listening]:
                process.kill()


def kill_child(main, what):
    """SIGKILL to the first process of that kind, once there is one."""
    until = time.monotonic() + 60
    while main.poll() is None and time.monotonic() < until:
        for process in family(main)[1:]:
            with contextlib.suppress(psutil.Error):
                if is_child(process, what):
                    process.kill()
                    return
        time.sleep(0.01)


def is_child(process, what):
    """Whether a process is of that kind: a decoder is what the forker forked."""
    if what == "decoder":
        return any(CHILDREN["forker"] in word for word in process.parent().cmdline())
    return any(CHILDREN[what] in word for word in process.cmdline())


def check(case, result, watched, *, store, temporary):
    """Note what must not be."""
    left = watched.left_running(patience=LIMIT)
    result.left = len(left)
    faults = result.faults
    ends = case.action.split()[0] in ENDING or case.action == "kill main"
    if ends and result.seconds > LIMIT:
        faults.append("late")
    if case.action == "kill server" and result.seconds > SERVED_LIMIT:
        faults.append("late")
    if ends and result.code not in (CODES.get(case.action, 130), 0):
        faults.append("code")
    if not ends and result.code not in (0, 1):
        faults.append("code")
    if case.action.startswith("stop") and result.code != 0:
        faults.append("failed")
    if left:
        faults.append(f"left: {left}")
    if watched.open_doors:
        faults.append(f"open: {watched.open_doors}")
    files = [p for p in temporary.rglob("*") if p.is_file() and "torchinductor" not in str(p)]
    if not case.action.startswith("kill") and case.action != "int twice":
        files += [p for p in (store / ".scratch").glob("*") if p.is_file()]
        if files:
            faults.append(f"files: {sorted(file.name for file in files)}")


def run(cases, *, seed, folder):
    """{case: result}, told on stderr as they come."""
    rng = random.Random(seed)
    ground = Ground(folder)
    results = {}
    for number, case in enumerate(cases, 1):
        result = results[case] = ground.meet(case, rng=rng)
        words = json.dumps(result.faults) if result.faults else "as it must be"
        told = f"{number}/{len(cases)} {case.stage}, {case.action}, {case.way}"
        seconds = f"{result.seconds:.1f} s, code {result.code}"
        print(f"{told}: {seconds}, {words}", file=sys.stderr, flush=True)
    return results


def table(results):
    """Markdown: one line a case."""
    yield "| stage | what befell it | run as | seconds | exit code | left | after the next run |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for case, result in results.items():
        after = "; ".join(result.faults) or "equal, verified"
        cells = [case.stage, case.action, case.way, f"{result.seconds:.1f}", result.code]
        yield f"| {' | '.join(map(str, [*cells, result.left, after]))} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=0, help="so many by chance; 0: all")
    parser.add_argument("--only", default="", help="stage, action or way that a case must have")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = [c for c in all_cases() if options.only in ("", c.stage, c.action, c.way)]
    if options.cases:
        cases = random.Random(options.seed).sample(cases, options.cases)
    folder = Path(tempfile.mkdtemp(prefix="reelvec-signals-"))
    results = run(cases, seed=options.seed, folder=folder / "ground")
    shutil.rmtree(folder / "ground")
    print("\n".join(table(results)))
    if any(result.faults for result in results.values()):
        sys.exit(f"what went wrong is kept in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
