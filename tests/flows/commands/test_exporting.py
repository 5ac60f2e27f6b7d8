"""reelvec export: on a terminal, as JSON, and what it says of wrong words."""

import json

import numpy as np
import pytest

import reelvec
from tests.support.command_line import typed


@pytest.fixture
def words(monkeypatch, capsys, real_store):
    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", real_store.store)

    return call


def test_it_writes_the_tables_of_the_run_and_says_how_to_open_them(words, real_store, tmp_path):
    out = tmp_path / "out"
    code, said, _ = words("export", out, "--to", "numpy", "--run", "demo")
    assert code == 0 and "8 videos, 20 captions" in said and f"{out}/videos.embedding.npy" in said
    ids, vectors = reelvec.open(real_store.store).run("demo").videos.numpy()
    assert np.load(out / "videos.ids.npy").tolist() == ids.tolist()
    assert np.array_equal(np.load(out / "videos.embedding.npy"), vectors)
    code, said, _ = words("export", out, "--to", "parquet", "--force", "--json")
    assert (code, json.loads(said)["rows"]) == (0, {"videos": 8, "captions": 20})


def test_wrong_words_are_said(words, tmp_path):
    out = tmp_path / "out"
    for given, expected, said in (
        (["--to", "excel"], 2, "none of parquet, numpy, faiss"),
        (["--to", "numpy", "--no-frames"], 2, "frames is no choice of --to numpy"),
        (["--to", "atlas", "--projection", "tsne"], 2, "projection (tsne)"),
        (["--to", "atlas", "--neighbours", "-1"], 2, "neighbours (-1)"),
        (["--to", "parquet", "--run", "nobody"], 1, "no run is called (nobody)"),
    ):
        code, _, err = words("export", out, *given)
        assert code == expected and said in err, err
    assert not out.exists()
