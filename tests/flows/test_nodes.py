"""Which command of several runs, which only trains, and how long that one waits."""

import os
from types import SimpleNamespace

import pytest

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.flows import nodes
from reelvec.flows.nodes import check_place, other_place
from reelvec.storage.at_work import announced
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.place import Place

MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4000"}


@pytest.fixture
def config(tmp_path):
    corpus = {"kind": "folder", "videos": str(tmp_path)}
    train = {"nodes": 2, "hang_minutes": 1}
    return PipelineConfig.model_validate(
        {"name": "two", "store": str(tmp_path / "store"), "corpus": corpus, "train": train}
    )


def launched(monkeypatch, index, count=2):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in (MEETING | {"RANK": str(index), "WORLD_SIZE": str(count)}).items():
        monkeypatch.setenv(name, value)


def test_the_first_runs_and_the_other_takes_part(config, monkeypatch):
    launched(monkeypatch, 0)
    assert other_place(config, stages=None) is None
    check_place(Session(config), stages=["train"])
    launched(monkeypatch, 1)
    assert other_place(config, stages=None).index == 1
    with pytest.raises(ConfigError, match="this is node 1 of 2"):
        check_place(Session(config), stages=["train"])


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"train": {"nodes": 1}}, None),
        ({"train": {"nodes": 2, "epochs": 0}}, None),
        ({"runner": "dask"}, None),
        ({}, ["ingest", "extract"]),
    ],
)
def test_where_nothing_is_trained_together_all_is_as_ever(config, monkeypatch, changes, stages):
    launched(monkeypatch, 1)
    config = PipelineConfig.model_validate(config.model_dump() | changes)
    assert other_place(config, stages=stages) is None
    check_place(Session(config), stages=stages or ["train"])


def test_a_wrong_number_of_commands_is_a_mistake_of_the_config(config, monkeypatch):
    launched(monkeypatch, 1, count=3)
    with pytest.raises(
        ConfigError, match=r"started 3 commands, and train.nodes \(2\) wants 2, one a node;"
    ):
        other_place(config, stages=None)


def test_without_a_launcher_a_run_says_what_is_missing(config, monkeypatch):
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert other_place(config, stages=None) is None
    with pytest.raises(ConfigError, match="nothing says which"):
        check_place(Session(config), stages=["train"])


@pytest.fixture
def waiting(config, monkeypatch):
    """What waits for the first node, and its clock, which each look moves by ten seconds."""
    clock = {"now": 0.0}

    def monotonic():
        clock["now"] += 10.0
        return clock["now"]

    monkeypatch.setattr(nodes, "time", SimpleNamespace(monotonic=monotonic))
    return nodes._Waiting(config, Place(index=1, count=2))


def looks(waiting, *, met=False):
    """Looks until it gives up, at most 30."""
    for number in range(30):
        try:
            assert not waiting.is_over(met)
        except TrainingError as error:
            return number, str(error)
    return 30, ""


def test_one_waits_while_the_first_is_at_work_and_no_longer(config, waiting):
    with announced(Session(config).root, "two"):
        assert looks(waiting) == (30, "")
    count, said = looks(waiting)
    assert count == 6 and "was not there" in said and "1 minutes" in said


def test_a_run_of_another_name_is_not_the_first(config, waiting):
    with announced(Session(config).root, "other"):
        assert looks(waiting)[0] == 6


def test_a_first_that_was_there_must_come_back_in_time(config, waiting):
    with announced(Session(config).root, "two"):
        count, said = looks(waiting, met=True)
    assert count == 6 and "did not come back" in said


def test_who_comes_when_all_is_trained_has_nothing_to_do(config, waiting, monkeypatch):
    monkeypatch.setattr(nodes, "find_trained", lambda _: "a model")
    assert waiting.is_over(False)
