"""Two commands that train together, with small scripts in the workers' place.

The first runs in the test's thread, the other in a thread of its own; both on loopback.
"""

import socket
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from reelvec.configs.addresses import Address
from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training import running
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.listening import listen
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.running import Given, run_at, take_part
from reelvec.tasks.training.spec import TrainSpec
from reelvec.tasks.training.supervisor import Launch

SECONDS = 30.0
ROOT = str(Path(__file__).parents[3])
HERE = socket.gethostname()
HEAD = """
import os, sys, time
from pathlib import Path
from reelvec.tasks.training.events import emit, emit_beat
from reelvec.tasks.training.guard import die_with_parent
from reelvec.tasks.training.heartbeat import Heartbeat
die_with_parent()
RANK, FOLDER, MEETING = os.environ["RANK"], Path(sys.argv[1]), os.environ["REELVEC_TRAIN_MEETING"]
ATTEMPT = int(MEETING.rpartition("/")[2])
if RANK == "0":
    emit("pid", pid=os.getpid(), meeting=MEETING, attempt=ATTEMPT)
"""


@dataclass
class Nodes:
    """Two commands that start `script` as their worker."""

    folder: Path
    train: TrainConfig
    waits: int = 0

    def __post_init__(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address = Address("127.0.0.1", server.getsockname()[1])
        self.events, self.others = [], []

    def spec(self, **train):
        ref = SnapshotRef(f"file://{self.folder}", "checkpoint", "0" * 32)
        options = self.train.model_copy(update=train)
        return TrainSpec(checkpoint=ref, frames=ref, model=ModelConfig(), train=options)

    def run(self, *, other=None, **how):
        """Both to their ends; what the first raises is raised, what the other raised is kept."""
        thread = threading.Thread(target=self.take_part, args=(other or self.spec(),), daemon=True)
        thread.start()
        try:
            run_at(self.place(0), self.spec(), on_progress=self.events.append, **how)
        finally:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def place(self, index):
        return Place(index=index, count=2, address=self.address)

    def take_part(self, spec):
        given = Given(store=spec.checkpoint.root, model=spec.model, train=spec.train)
        try:
            take_part(self.place(1), given=given, is_over=self.is_over, listen="127.0.0.2")
        except TrainingError as error:
            self.others.append(str(error))

    def is_over(self, _):
        self.waits += 1
        return self.waits > SECONDS

    def heard(self, name):
        return [event for event in self.events if event["event"] == name]


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    script = tmp_path / "worker.py"
    monkeypatch.setenv("PYTHONPATH", ROOT)
    command = [sys.executable, str(script), str(tmp_path)]
    monkeypatch.setattr(Launch, "command", lambda _: command)

    def make(body, **train):
        script.write_text(HEAD + textwrap.dedent(body))
        return Nodes(tmp_path, TrainConfig(nodes=2, **train))

    return make


def test_both_start_their_processes_and_end_together(nodes):
    two = nodes("(FOLDER / RANK).write_text(os.environ['REELVEC_TRAIN_LISTEN'])")
    two.run()
    assert two.others == []
    assert two.events[0]["meeting"] == f"tcp://{two.address}/1"
    assert [(two.folder / rank).read_text() for rank in "01"] == ["127.0.0.1", "127.0.0.2"]
    listening = [c.laddr.port for c in psutil.Process().net_connections() if c.status == "LISTEN"]
    assert two.address.port not in listening


def test_who_dies_elsewhere_is_named_and_all_start_again(nodes):
    """The first one's process loses it, and says so; that is not the cause."""
    two = nodes("""
    if ATTEMPT == 1 and RANK == "1":
        while not (FOLDER / "begun").exists():
            time.sleep(1 / 100)
        os.kill(os.getpid(), 9)
    if ATTEMPT == 1:
        (FOLDER / "begun").touch()
        time.sleep(1 / 2)
        emit("crash", message="RuntimeError: [gloo/transport] Connection closed by peer")
        sys.exit(1)
    """)
    two.run()
    assert [e["message"] for e in two.heard("restart")] == [
        f"rank 1 of 2 on {HERE} ended with code -9 (SIGKILL)"
    ]
    assert [e["attempt"] for e in two.heard("pid")] == [1, 2]
    assert two.others == []


def test_who_dies_here_ends_those_elsewhere(nodes):
    two = nodes("""
    if ATTEMPT == 1 and RANK == "0":
        emit("crash", message="ValueError: bad luck")
        sys.exit(1)
    if ATTEMPT == 1:
        time.sleep(600)
    """)
    two.run()
    words = f"rank 0 of 2 on {HERE} ended with code 1: ValueError: bad luck"
    assert [e["message"] for e in two.heard("restart")] == [words]


def test_what_is_wrong_elsewhere_is_raised_at_once(nodes):
    two = nodes("""
    if RANK == "1":
        emit("error", message="rank 1 has no GPU", kind="TrainingError")
        sys.exit(1)
    time.sleep(600)
    """)
    with pytest.raises(TrainingError, match="rank 1 has no GPU"):
        two.run()
    assert two.others == ["the first node says: rank 1 has no GPU"]


def test_who_hangs_elsewhere_is_named(nodes):
    two = nodes(
        """
    heart = Heartbeat()
    heart.start(int(RANK), emit_beat, counts_cpu=False)
    if ATTEMPT == 1:
        heart.works("step 3")
        if RANK == "1":
            time.sleep(600)
        with heart.waiting("summing gradients"):
            time.sleep(600)
    """,
        hang_minutes=0.1,
    )
    two.run()
    (said,) = [e["message"] for e in two.heard("restart")]
    assert said.startswith(f"rank 1 of 2 on {HERE} hangs: it has not got on for ")
    assert said.endswith("(step 3)")


def test_commands_that_differ_are_refused_with_what_differs(nodes):
    two = nodes("time.sleep(600)")
    with pytest.raises(TrainingError, match=r"differ: train.batch_size \(128 there, 4 here\)"):
        two.run(other=two.spec(batch_size=4))


def test_a_training_that_nobody_wants_ends_everywhere(nodes):
    two = nodes("""
    (FOLDER / RANK).touch()
    time.sleep(600)
    """)
    with pytest.raises(TrainingError, match="was stopped"):
        two.run(stopped=lambda: two.heard("pid") and (two.folder / "1").exists())
    assert two.others == [
        "the first node says: the training was stopped; its last checkpoint stands"
    ]
    assert not psutil.pid_exists(two.events[0]["pid"])


def test_others_wait_for_the_first_until_it_is_over(nodes, monkeypatch):
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_TRIES", 0.01)
    two = nodes("")
    two.waits = SECONDS - 3
    two.take_part(two.spec())
    assert two.waits > SECONDS and two.others == []


def test_only_the_first_runs(nodes):
    two = nodes("")
    with pytest.raises(TrainingError, match="command 1 of 2, which only takes part"):
        run_at(two.place(1), two.spec(), on_progress=print)


def test_an_address_that_is_not_ours_or_is_taken_is_said():
    with pytest.raises(TrainingError, match=r"cannot listen at \(192.0.2.1:4000\)"):
        listen(Address("192.0.2.1", 4000))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(TrainingError, match="free port"):
            listen(Address("127.0.0.1", port))


def test_a_name_that_only_this_machine_understands_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 4000))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(TrainingError, match=r"\(node1\) is 127.0.1.1 on the first node"):
        listen(Address("node1", 4000))


def test_the_store_listens_at_the_one_address_alone():
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
    _, store = listen(Address("127.0.0.2", port))
    at = [c.laddr for c in psutil.Process().net_connections() if c.status == "LISTEN"]
    assert [address.ip for address in at if address.port == port] == ["127.0.0.2"]
    store.set("a", b"\x80bytes")
    assert store.get("a") == b"\x80bytes"
