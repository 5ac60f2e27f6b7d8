"""What a run needs of its machine, seen before any work."""

import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from distributed import Client

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.flows import clusters
from reelvec.flows.clusters import check_loopback, open_cluster
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.loopback import loopback_fault
from reelvec.tasks.temporary import remove_dead_folders

DASK = """
import signal
from reelvec.configs import PipelineConfig
from reelvec.flows.clusters import open_cluster
if __name__ == "__main__":
    with open_cluster(PipelineConfig(runner="dask", workers=1)):
        print("open", flush=True)
        signal.pause()
"""
NO_ADDRESSES = ["foo", "tcp://127.0.0.1:9", "http://scheduler", "ucx://127.0.0.1:9"]
NO_ADDRESSES += ["tls://127.0.0.1:9"]  # without certificates


@pytest.fixture
def no_loopback(monkeypatch):
    """`ip link set lo down`: addresses can be bound, and not reached."""

    def refuse(*_, **__):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)


def config(**changes):
    return PipelineConfig.model_validate(changes)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_address_without_a_scheduler_is_said_before_any_work(address, monkeypatch):
    monkeypatch.setattr(clusters, "_ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(ConfigError, match=re.escape(f"dask_address ({address}): no Dask")),
        open_cluster(config(runner="dask", dask_address=address)),
    ):
        pass


@pytest.mark.parametrize(
    ("first", "words"),
    [(b"", "no answer came"), (b"HTTP/1.1 400 Bad Request", "what does speaks another protocol")],
)
def test_what_is_no_server_of_dasks_is_waited_for_as_long_as_any(first, words, monkeypatch):
    """Its page, say, or a tunnel whose other end is gone."""
    monkeypatch.setattr(clusters, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        answering = threading.Thread(target=answer_once, args=(server, first))
        answering.start()
        with (
            pytest.raises(ConfigError, match=re.escape(f"({words}); start one")),
            open_cluster(config(runner="dask", dask_address=address)),
        ):
            pass
        answering.join()


def answer_once(server, first):
    with server.accept()[0] as asked:
        asked.sendall(first)
        while asked.recv(4096):
            pass


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_client_that_never_connected_is_not_the_next_runs(address, monkeypatch):
    monkeypatch.setattr(clusters, "_ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(ConfigError) as held,
        open_cluster(config(runner="dask", dask_address=address)),
    ):
        pass
    assert held.traceback, "what failed is alive here, as in a notebook's last error"
    with pytest.raises(ValueError, match="No clients found"):
        Client.current()


def test_loopback_works_here():
    assert loopback_fault() == ""
    check_loopback(config(runner="dask", train={"processes": 2}))


def test_what_needs_no_loopback_runs_without(no_loopback):
    assert loopback_fault() == "Network is unreachable"
    check_loopback(config())
    check_loopback(config(runner="dask", dask_address="tcp://scheduler:8786"))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [({"runner": "dask"}, "runner=threads"), ({"train": {"processes": 2}}, "train.processes=1")],
)
def test_what_needs_it_says_so_with_the_option_that_does_without(no_loopback, changes, remedy):
    with pytest.raises(ReelvecError, match="Network is unreachable") as error:
        check_loopback(config(**changes))
    assert str(error.value).endswith(f"or set {remedy}")


def test_what_dask_leaves_of_a_killed_run_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = tmp_path / "cluster.py"
    script.write_text(DASK)
    places = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / ".editable")}
    child = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ | places
    )
    assert child.stdout.readline() == "open\n"
    child.kill()
    child.communicate()
    (home,) = tmp_path.glob("reelvec-*")
    assert list(home.glob("*/run/dask-scratch-space/*"))
    for _ in range(100):  # its worker ends by itself, and may write for a moment yet
        remove_dead_folders()
        if not list(home.iterdir()):
            break
        time.sleep(0.1)
    assert list(home.iterdir()) == [] and sorted(tmp_path.iterdir()) == [script, home]
