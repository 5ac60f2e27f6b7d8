"""runs, drop and --run as a person types them."""

import json
import os
import shutil

import pytest

import reelvec
from tests.support.command_line import typed


@pytest.fixture
def store(real_store, tmp_path):
    """Two runs of one name, demo."""
    return shutil.copytree(real_store.store, tmp_path / "copy", copy_function=os.link)


@pytest.fixture
def words(monkeypatch, capsys, store):
    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", str(store))

    return call


@pytest.mark.parametrize(
    "command",
    [["search", "a shape"], ["failures"], ["evaluate"], ["report"], ["retry"], ["reembed"]],
    ids=lambda command: command[0],
)
def test_a_run_that_is_not_there_names_those_that_are(words, command):
    code, out, err = words(*command, "--run", "dmeo")
    assert (code, out) == (1, "")
    assert "(dmeo)" in err and "there are: demo" in err and err.count("\n") == 1


def test_a_preset_and_a_run_are_not_both_scored(words):
    code, _, err = words("evaluate", "demo", "--run", "demo")
    assert code == 2 and "give one of them" in err


def test_runs_say_what_they_are_and_what_they_keep(words, store):
    _, out, _ = words("runs")
    last = reelvec.open(store).run("demo").identifier
    (line,) = [line for line in out.splitlines() if line.startswith("demo ")]
    assert line.split()[:3] == ["demo", last, "2"] and "completed" in line and "tables" in line
    _, out, _ = words("runs", "--json")
    (run,) = json.loads(out)["runs"]
    assert (run["name"], run["run"], run["in_use"]) == ("demo", last, True)
    assert run["bytes"] == run["bytes_alone"] > 2**20


def test_a_drop_is_said_before_it_is_done(words, store):
    code, out, _ = words("drop", "demo", "--dry-run")
    assert code == 0 and "would be dropped (2 runs)" in out and "would then free" in out
    assert words("search", "a shape")[0] == 0
    code, out, _ = words("drop", "demo")
    assert code == 0 and "No run that has tables is left" in out
    for command in (["search", "a shape"], ["failures"], ["reembed"], ["drop", "demo"]):
        code, out, err = words(*command)
        assert (code, out) == (1, "") and "dropped" in err
    assert words("runs")[1].rstrip().endswith("no run")
    _, out, _ = words("runs", "--dropped", "--json")
    assert [run["status"] for run in json.loads(out)["runs"]] == ["dropped"]
    _, out, _ = words("gc", "--json")
    removed = json.loads(out)["removed"]
    assert {one["kind"] for one in removed} == {
        "corpus", "frames", "checkpoint", "embeddings", "evaluation",
    }  # fmt: skip
    assert sum(one["bytes"] for one in removed) > 2**20
    assert words("verify")[0] == 0


def test_one_run_of_a_name_is_dropped_by_its_identifier(words, store):
    first, second = (run.identifier for run in reelvec.open(store).runs())
    code, out, _ = words("drop", second[:8], "--json")
    assert (code, json.loads(out)["runs"], json.loads(out)["in_use"]) == (0, [second], "demo")
    assert json.loads(out)["frees"] == []
    assert [run.identifier for run in reelvec.open(store).runs()] == [first]
    assert words("search", "a shape")[0] == 0
