"""`reelvec doctor` on the store: what it promises a run will find."""

from pathlib import Path

import pytest

from reelvec.flows.doctor import examine
from reelvec.storage.roots import open_root


def store_row(store):
    (row,) = [row for row in examine(str(store)) if row["check"] == "store"]
    return row


def test_a_store_and_a_place_for_one_are_fine_and_left_as_they_were(tmp_path):
    open_root(tmp_path / "store").put_new("x", b"1")
    before = sorted(tmp_path.rglob("*"))
    for place in ("store", "not/yet/there", "."):
        assert store_row(tmp_path / place)["result"] in ("ok", "note")
    assert store_row(f"file://{tmp_path}/store")["found"].startswith(str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_no_store(tmp_path):
    file = tmp_path / "captions.csv"
    file.write_text("")
    for place in (file, file / "below"):
        row = store_row(place)
        assert row["result"] == "bad"
        assert "a file, not a folder" in row["found"] + row["remedy"]


def test_a_place_that_cannot_be_written_is_found_by_writing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    open_root(tmp_path).new_scratch()
    monkeypatch.setattr("reelvec.flows.doctor.tempfile.NamedTemporaryFile", refuse)
    row = store_row(tmp_path)
    assert row["result"] == "bad" and row["remedy"]
    assert str(tmp_path / ".scratch") in row["found"] and "Permission denied" in row["found"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_proc_takes_no_store():
    row = store_row("/proc/reelvec")
    assert row["result"] == "bad" and "cannot write in /proc" in row["found"]
