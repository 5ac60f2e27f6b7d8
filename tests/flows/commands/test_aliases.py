"""promote, rollback, tag, untag, tags, history and diff as a person types them."""

import csv
import json
import os
import shutil

import pytest

from tests.support.command_line import typed


@pytest.fixture
def words(real_store, tmp_path, monkeypatch, capsys):
    store = shutil.copytree(real_store.store, tmp_path / "copy", copy_function=os.link)

    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", str(store))

    return call


def test_what_is_searched_is_moved_and_taken_back(words):
    first, last = [run["run"] for run in _runs(words)]
    assert "`current` is not set" in words("tags")[1]
    assert words("promote", first, "--why", "the paper's")[0] == 0
    code, out, _ = words("promote", last, "--json")
    moved = json.loads(out)
    assert code == 0 and moved["changed"] and moved["before"]["run"] == first
    assert words("promote", last)[1].rstrip().endswith("as before")
    assert f"({first})" in words("rollback")[1]
    assert words("tag", "paper", last, "--json")[0] == 0
    listed = json.loads(words("tags", "--json")[1])["tags"]
    assert [(one["alias"], one["record"]["run"]) for one in listed] == [
        ("current", first), ("paper", last),
    ]  # fmt: skip
    assert "paper: removed" in words("untag", "paper")[1]
    changes = json.loads(words("history", "--json")[1])["changes"]
    assert [one["what"] for one in changes[-3:]] == ["rolled back", "tagged", "removed"]
    assert "older ones are not shown" in words("history", "--limit", "2")[1]
    code, out, _ = words("history", "current", "--csv")
    assert code == 0 and len(list(csv.DictReader(out.splitlines()))) == 3


def _runs(words):
    changes = json.loads(words("history", "demo", "--json")[1])["changes"]
    return [{"run": one["identifier"]} for one in changes if one["what"] == "completed"]


def test_two_nights_are_compared(words):
    first, last = [run["run"] for run in _runs(words)]
    code, out, _ = words("diff", first, last, "--json")
    found = json.loads(out)
    assert code == 0 and {row["change"] for row in found["rows"]} >= {"new", "changed"}
    code, out, _ = words("diff", first, last, "--csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0 and len(rows) == len(found["rows"])
    code, out, _ = words("diff", first, last, "--top", "1")
    assert code == 0 and "more are not shown" in out and "text in" in out
    assert words("diff", first, first)[0] == 0


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (["promote", "nobody"], 1, "no run is called (nobody)"),
        (["rollback"], 1, "never set"),
        (["rollback", "--alias", "../x"], 1, "small letters"),
        (["tag", "demo"], 1, "a run is called (demo)"),
        (["untag", "paper"], 1, "no tag (paper) is set"),
        (["diff", "demo", "demo@x"], 1, "after @ stands the number"),
        (["history", "--json", "--csv"], 2, "give one of them"),
    ],
    ids=["promote", "rollback", "alias", "tag", "untag", "diff", "history"],
)
def test_a_wrong_word_is_said(words, call, code, said):
    got, out, err = words(*call)
    assert (got, out) == (code, "") and said in err
