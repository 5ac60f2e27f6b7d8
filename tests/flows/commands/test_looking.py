"""search, status and failures: the Python API on a terminal; what they print other words take."""

import json

import pytest

import reelvec
from tests.support.command_line import typed


@pytest.fixture
def words(monkeypatch, capsys, real_store):
    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", real_store.store)

    return call


def test_status_shows_names_and_whole_identities(words, real_store):
    code, out, _ = words("status")
    store = reelvec.open(real_store.store)
    assert code == 0
    for artifact in store.status():
        assert len(artifact.fingerprint) == 32 and artifact.fingerprint in out.split()
    last = store.run("demo")
    (line,) = [line for line in out.splitlines() if line.startswith("demo ")]
    assert line.split()[:3] == ["demo", last.identifier, "2"]


def test_identities_stay_whole_on_a_narrow_terminal(words, real_store, monkeypatch):
    monkeypatch.setattr("reelvec.flows.console.output._PIPE_COLUMNS", 72)
    _, out, _ = words("status")
    for artifact in reelvec.open(real_store.store).status():
        assert artifact.fingerprint in out.split()


def test_status_as_json_says_what_the_api_says(words, real_store):
    _, out, _ = words("status", "--json")
    found = json.loads(out)
    store = reelvec.open(real_store.store)
    assert [run["run"] for run in found["runs"]] == [run.identifier for run in store.runs()]
    assert [a["checksum"] for a in found["artifacts"]] == [a.checksum for a in store.status()]
    embeddings = next(a for a in found["artifacts"] if a["kind"] == "embeddings")
    assert embeddings["counts"] == {"planned": 30, "ok": 28, "salvaged": 0, "quarantined": 2}
    assert embeddings["parts"][0]["table"] in ("videos", "captions")


def test_search_is_the_api_s(words, real_store):
    _, out, _ = words("search", "a shape", "--top", "2", "--json")
    found = json.loads(out)["results"]
    expected = reelvec.open(real_store.store).run().search("a shape", top=2)
    assert found == [json.loads(json.dumps(row.as_dict())) for row in expected]


def test_a_run_is_named_by_name_or_first_digits(words, real_store):
    first, _ = reelvec.open(real_store.store).runs()
    for name in ("demo", first.identifier, first.identifier[:6]):
        assert words("search", "a shape", "--run", name)[0] == 0
        code, out, _ = words("failures", "--run", name, "--json")
        assert (code, [row["video_id"] for row in json.loads(out)["failures"]]) == (
            0,
            ["broken", "cut"],
        )
    code, out, err = words("failures", "--run", "dmeo")
    assert (code, out) == (1, "")
    assert "no run is called (dmeo)" in err and "there are: demo" in err and err.count("\n") == 1


def test_a_search_says_what_its_numbers_are(words):
    _, out, err = words("search", "a shape", "--top", "2", "--json")
    found = json.loads(out)
    assert (found["unit"], len(found["notes"]), err) == ("cosine", 1, "")
    assert all(-1.0001 <= row["score"] <= 1.0001 for row in found["results"])
    _, out, err = words("search", "a shape", "--top", "2")
    assert out.splitlines()[1].split()[:3] == ["rank", "cosine", "video_id"]
    assert "UNTRAINED model" in err and err.strip() == found["notes"][0]  # as `embed` says it


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_no_words_find_nothing(words, text):
    code, out, err = words("search", text)
    assert (code, out) == (1, "") and "the text is empty; say in words" in err


def test_letters_that_are_none_are_no_defect(words):
    code, out, err = words("search", "caf\udce9")
    assert (code, out) == (1, "") and "no valid Unicode" in err
