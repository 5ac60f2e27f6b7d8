"""Supervision with small scripts in the worker's place: they start in a moment."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.events import parse
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.supervisor import Launch, supervise

ROOT = str(Path(__file__).parents[3])


@dataclass(frozen=True)
class ScriptLaunch(Launch):
    """Runs the spec as a script, by an agent in between (MPI's, a debugger, a container's)."""

    def command(self):
        return [sys.executable, "-c", AGENT, str(self.spec)]


#: the worker is started in a session of its own, and is not killed with its parent
AGENT = """
import subprocess, sys
sys.exit(subprocess.Popen([sys.executable, sys.argv[1]], start_new_session=True).wait())
"""

HEAD = """
import sys, os, time, json
from reelvec.tasks.training.events import emit
from reelvec.tasks.training.guard import die_with_parent
die_with_parent()
emit("pid", pid=os.getpid())
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ROOT)

    def make(body, processes=1, **options):
        script = tmp_path / "worker.py"
        script.write_text(HEAD + textwrap.dedent(body))
        return ScriptLaunch(
            script, Place.alone(processes), log=tmp_path / "logs" / "train.log", **options
        )

    return make


def gone(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


def test_events_reach_the_caller_and_all_words_the_log(launch):
    events = []
    started = launch("print('plain words')\nemit('step', step=1, loss=0.5)\n")
    supervise(started, on_progress=events.append)
    assert [e["event"] for e in events] == ["pid", "step"]
    assert events[1] == {"event": "step", "step": 1, "loss": 0.5}
    assert "plain words" in started.log.read_text()


def test_what_the_worker_says_is_wrong_is_raised_and_not_tried_again(launch, tmp_path):
    body = f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
    body += (
        "emit('error', message='the loss is nan at step 3', kind='TrainingError')\nsys.exit(1)\n"
    )
    with pytest.raises(TrainingError, match="nan at step 3"):
        supervise(launch(body), on_progress=lambda _: None)
    assert (tmp_path / "runs").read_text() == "x"


def test_a_crash_is_tried_again_and_then_raised_with_its_words(launch, tmp_path):
    body = f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\nprint('bad luck')\nos.abort()\n"
    with pytest.raises(TrainingError, match="bad luck"):
        supervise(launch(body, restarts=2), on_progress=lambda _: None)
    assert (tmp_path / "runs").read_text() == "xxx"


def test_checkpoints_in_between_allow_more_restarts(launch, tmp_path):
    count = str(tmp_path / "runs")
    body = f"""
    open({count!r}, "a").write("x")
    emit("checkpoint", step=1)
    if len(open({count!r}).read()) < 5:
        os.kill(os.getpid(), 9)
    """
    events = []
    supervise(launch(body, restarts=1), on_progress=events.append)
    assert [e["event"] for e in events].count("restart") == 4


def test_an_exception_of_the_caller_ends_the_children(launch):
    pids = []

    def follow(event):
        pids.append(event["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(launch("time.sleep(600)"), on_progress=follow)
    assert gone(pids[0])


def test_an_exception_sent_to_the_waiting_thread_ends_the_children(launch):
    """As Prefect cancels a task: an asynchronous exception in a thread that waits."""
    import ctypes

    pids, ended = [], []

    def run():
        try:
            supervise(launch("time.sleep(600)"), on_progress=lambda e: pids.append(e["pid"]))
        except SystemExit:
            ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    while not pids:
        time.sleep(0.02)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
    )
    thread.join(10)
    assert ended
    assert gone(pids[0])


PARENT = """
import sys
from pathlib import Path
from tests.tasks.training.test_supervisor import ScriptLaunch
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.supervisor import supervise
supervise(ScriptLaunch(Path(sys.argv[1]), Place.alone(1), log=Path(sys.argv[2])),
          on_progress=lambda e: print(e["pid"], flush=True))
"""


@pytest.mark.parametrize("wait", ["time.sleep(600)", "while True: pass"])
def test_children_die_with_a_parent_that_is_killed(launch, tmp_path, wait):
    started = launch(wait)
    command = [sys.executable, "-c", PARENT, str(started.spec), str(started.log)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    agent = psutil.Process(worker).ppid()
    assert os.getpgid(worker) != os.getpgid(agent)  # no group holds them all
    parent.kill()
    parent.wait()
    assert gone(worker)
    assert gone(agent)


def test_a_worker_dies_with_its_agent(launch):
    pids = []

    def follow(event):
        if event["event"] == "pid":
            pids.append(event["pid"])
            if len(pids) == 1:
                os.kill(psutil.Process(event["pid"]).ppid(), signal.SIGKILL)

    started = launch("time.sleep(60)", restarts=0)
    with pytest.raises(TrainingError, match="code"):
        supervise(started, on_progress=follow)
    assert gone(pids[0])


def test_the_others_end_with_one_that_fails(launch):
    """In a collective they would wait for it for hours."""
    body = """
    if os.environ["RANK"] == "1":
        emit("error", message="rank 1 of " + os.environ["WORLD_SIZE"], kind="TrainingError")
        sys.exit(1)
    time.sleep(600)
    """
    pids = []
    started = time.monotonic()
    with pytest.raises(TrainingError, match="rank 1 of 2"):
        supervise(launch(body, processes=2), on_progress=lambda e: pids.append(e["pid"]))
    assert time.monotonic() - started < 60
    assert len(pids) == 2 and all(gone(pid) for pid in pids)


def test_no_folder_is_left_where_they_met(launch, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    events = []
    body = "emit('met', folder=os.path.dirname(os.environ['REELVEC_TRAIN_MEETING']))"
    supervise(launch(body, processes=2), on_progress=events.append)
    met = {event["folder"] for event in events if event["event"] == "met"}
    (ours,) = (tmp_path / "temporary").iterdir()
    assert ours.name == f"reelvec-{os.getuid()}" and list(ours.iterdir()) == []
    assert [Path(folder).is_relative_to(ours) for folder in met] == [True]


@pytest.mark.parametrize("line", ["words", '{"a": 1}', '{"reelvec": broken', ""])
def test_other_lines_are_no_events(line):
    assert parse(line) is None


def test_a_process_that_hangs_is_named_and_started_again(launch, tmp_path):
    body = f"""
    from reelvec.tasks.training.events import emit_beat
    from reelvec.tasks.training.heartbeat import Heartbeat
    heart = Heartbeat()
    heart.start(0, emit_beat, counts_cpu=False)
    heart.works("step 7")
    if not os.path.exists({str(tmp_path / "again")!r}):
        open({str(tmp_path / "again")!r}, "w").close()
        time.sleep(600)
    """
    events = []
    supervise(launch(body, hang_seconds=3.0), on_progress=events.append)
    (said,) = [event["message"] for event in events if event["event"] == "restart"]
    assert said.startswith("the training process hangs: it has not got on for ")
    assert said.endswith("(step 7)")
