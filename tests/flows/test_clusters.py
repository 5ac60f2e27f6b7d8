"""What a run needs of its machine, seen before any work."""

import errno
import socket

import pytest

from reelvec.configs import PipelineConfig
from reelvec.flows.clusters import check_loopback
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.loopback import loopback_fault


@pytest.fixture
def no_loopback(monkeypatch):
    """`ip link set lo down`: addresses can be bound, and not reached."""

    def refuse(*_, **__):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)


def config(**changes):
    return PipelineConfig.model_validate(changes)


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
