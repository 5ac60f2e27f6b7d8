"""How the processes of a training run find each other."""

import pytest

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.processes import MEETING, Group


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Group.join("cpu").world == 1


def test_a_launchers_network_store_is_refused(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.delenv(MEETING, raising=False)
    with pytest.raises(TrainingError, match=r"WORLD_SIZE \(2\).*train\.processes"):
        Group.join("cpu")
