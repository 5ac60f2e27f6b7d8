"""docs/search.md: its commands and its cell run as they are written."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import reelvec
from tests.support.command_line import typed

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(real_store, tmp_path, monkeypatch):
    """A folder with a store, and the files the page's commands name."""
    run = reelvec.open(real_store.store).run()
    (tmp_path / "reelvec-store").symlink_to(real_store.store)
    (tmp_path / "clip.mp4").symlink_to(run.search("a shape", top=1)[0].path)
    (tmp_path / "queries.txt").write_text("a red circle\n")
    ids, vectors = run.videos.numpy()
    np.save(tmp_path / "vectors.npy", vectors[:2])
    mine = pa.table({"video_id": ids, "lang": ["en"] * len(ids)})
    pq.write_table(mine, tmp_path / "mine.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(folder, monkeypatch, capsys):
    lines = [line for kind, text in BLOCK.findall(PAGE) if not kind for line in text.splitlines()]
    tried = ("reelvec search", "reelvec index")
    commands = [shlex.split(line) for line in lines if line.startswith(tried)]
    assert len(commands) == 10
    for _, *words in commands:
        given = ["clip1" if word == "ID" else word for word in words]
        code, out, err = typed(monkeypatch, capsys, *given)
        assert (code, "clip" in out) == (0, words[0] == "search"), (words, err)


def test_the_cell_runs(folder):
    (cell,) = [text for kind, text in BLOCK.findall(PAGE) if kind == "python"]
    after = "\nprint(len(many), len(like.rows), near.rows[0].video_id, vectors[0].unit)"
    run = subprocess.run(
        [sys.executable, "-c", cell + after], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = run.stdout.splitlines()
    assert found[-1].split() == ["2", "3", found[0].split()[3], "cosine"]
