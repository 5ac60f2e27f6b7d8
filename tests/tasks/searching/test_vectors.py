"""The mapped matrix gives the answers of a score of every row, to the last bit."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from reelvec.storage import derived, layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.tasks.searching import vectors as searching
from reelvec.tasks.searching.search import best_videos
from reelvec.tasks.searching.vectors import VectorIndex, unit_queries


def table_of(folder, vectors, *, dtype=np.float32, parts=2):
    """A table of these rows, in no order, with two splits; and its snapshot."""
    root = open_root(folder / "store")
    artifact = Artifact.open(root, kind="embeddings", identity={"kind": "embeddings"})
    order = np.random.default_rng(1).permutation(len(vectors))
    receipts = []
    for number, rows in enumerate(np.array_split(order, parts)):
        outcomes = [Outcome(f"v{row:05d}") for row in rows]
        flat = pa.array(vectors[rows].astype(dtype).reshape(-1))
        table = pa.table(
            {
                "video_id": pa.array([f"v{row:05d}" for row in rows], pa.string()),
                "split": pa.array(["train" if row % 3 else "test" for row in rows], pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }
        )
        with artifact.new_part(table="videos", shard=f"p{number}", suffix=".parquet") as part:
            write_table(part.path, table, metadata=identity_metadata(artifact.identity))
            receipts.append(part.commit(rows=len(rows), outcomes=outcomes))
    return artifact.publish(add=receipts)


def near_and_equal(rows=3000, width=64, *, seed=0):
    """Unit vectors: many equal, many a few bits apart, around few directions."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, width))
    vectors = centres[rng.integers(0, 5, rows)]
    vectors += rng.choice([0, 1e-7, 1e-6, 1e-1], rows)[:, None] * rng.standard_normal((rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("split", [None, "test"])
def test_answers_are_those_of_every_row_s_exact_score(tmp_path, dtype, split, monkeypatch):
    monkeypatch.setattr(searching, "_BLOCK_ROWS", 700)
    monkeypatch.setattr(searching, "_SCORES_AT_ONCE", 2 * 3000)
    vectors = near_and_equal()
    table = table_of(tmp_path, vectors, dtype=dtype)
    queries = np.concatenate([vectors[:3], near_and_equal(4, seed=7)])
    index = VectorIndex.of(table)
    for top in (1, 10, 400, 5000):
        found = index.best(queries, top=top, split=split)
        for query, ranking in zip(queries, found, strict=True):
            columns = {"embedding": torch.from_numpy(query[None].copy())}
            assert ranking == best_videos(columns, embeddings=table, top=top, split=split)


def test_a_video_is_left_out_of_its_own_neighbours(tmp_path):
    vectors = near_and_equal(50)
    index = VectorIndex.of(table_of(tmp_path, vectors))
    np.testing.assert_array_equal(index.vector("v00007"), vectors[7:8])
    assert index.vector("v00050") is None
    (found,) = index.best(vectors[7:8], top=50, without="v00007")
    assert len(found.best) == 49 and "v00007" not in dict(found.best)


def test_only_some_videos_are_looked_for(tmp_path):
    vectors = near_and_equal(300)
    table = table_of(tmp_path, vectors)
    only = pa.array([f"v{row:05d}" for row in range(0, 300, 7)] + ["elsewhere"])
    index, query = VectorIndex.of(table), vectors[:1]
    columns = {"embedding": torch.from_numpy(query.copy())}
    for split in (None, "test"):
        (found,) = index.best(query, top=50, split=split, only=only)
        assert found == best_videos(columns, embeddings=table, top=50, split=split, only=only)
        assert set(dict(found.best)) <= set(only.to_pylist()) and found.best


def folders(snapshot):
    root, artifact = snapshot.artifact.root, snapshot.artifact
    return sorted((root.local_folder / layout.derived(artifact.folder)).iterdir())


@pytest.mark.parametrize("damage", ["a byte", "cut", "gone", "no record", "another version"])
def test_a_damaged_index_is_made_anew(tmp_path, damage, monkeypatch):
    vectors = near_and_equal(40)
    table = table_of(tmp_path, vectors)
    before = VectorIndex.of(table).best(vectors[:1], top=5)
    (folder,) = folders(table)
    matrix = folder / "vectors.npy"
    made = matrix.read_bytes()
    if damage == "a byte":
        matrix.write_bytes(made[:-9] + bytes([made[-9] ^ 64]) + made[-8:])
    elif damage == "cut":
        matrix.write_bytes(made[:-4])
    elif damage == "gone":
        matrix.unlink()
    elif damage == "no record":
        (folder / "made.json").write_bytes(b"{}")
    else:
        monkeypatch.setattr(derived, "_VERSION", derived._VERSION + 1)
    assert VectorIndex.of(table).best(vectors[:1], top=5) == before
    assert matrix.read_bytes() == made and folders(table) == [folder]


def test_what_a_folder_holds_is_of_this_version(tmp_path):
    """Other files are another version: a folder of before is whole, and lacks what is new."""
    table = table_of(tmp_path, near_and_equal(40))
    VectorIndex.of(table)
    (folder,) = folders(table)
    held = sorted(path.name for path in folder.iterdir())
    assert held == ["absent.npy", "left-out.npy", "made.json", "rows.arrow", "vectors.npy"]
    assert derived._VERSION == 2


def test_an_index_that_is_whole_is_not_made_again(tmp_path, monkeypatch):
    vectors = near_and_equal(40)
    table = table_of(tmp_path, vectors)
    before = VectorIndex.of(table).best(vectors[:1], top=5)
    monkeypatch.setattr(searching, "_make", None)
    assert VectorIndex.of(table).best(vectors[:1], top=5) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_store_that_cannot_be_written_is_searched_from_the_cache(tmp_path, monkeypatch, number):
    vectors = near_and_equal(40)
    table = table_of(tmp_path, vectors)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    mkdir = Path.mkdir

    def refuse(path, *args, **kwargs):
        if path.is_relative_to(tmp_path / "store"):
            raise OSError(number, os.strerror(number), str(path))
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert len(VectorIndex.of(table).best(vectors[:1], top=5)[0].best) == 5
    assert list((tmp_path / "cache").rglob("vectors.npy"))
    assert not list((tmp_path / "store").rglob("vectors.npy"))


def test_of_two_makers_the_first_wins(tmp_path, monkeypatch):
    vectors = near_and_equal(40)
    table = table_of(tmp_path, vectors)
    make = searching._make

    def slowly(embeddings, folder, **options):
        facts = make(embeddings, folder, **options)
        monkeypatch.setattr(searching, "_make", make)
        other = VectorIndex.of(table)
        assert len(other.best(vectors[:1], top=5)[0].best) == 5
        return facts

    monkeypatch.setattr(searching, "_make", slowly)
    assert len(VectorIndex.of(table).best(vectors[:1], top=5)[0].best) == 5
    assert len(folders(table)) == 1


def test_gc_removes_what_was_derived_from_what_is_gone(tmp_path):
    vectors = near_and_equal(40)
    older = table_of(tmp_path, vectors)
    index = VectorIndex.of(older)
    root = older.artifact.root
    newer = Artifact.of(older).publish(supersede={"videos": ["v00003"]})
    assert len(VectorIndex.of(newer)) == 39 and len(folders(older)) == 2
    every = GcOptions(keep_snapshots=1, min_age_seconds=0)
    gc(root, options=GcOptions())
    assert len(folders(older)) == 2
    collected = gc(root, options=every)
    assert [path.name for path in folders(older)] == [f"vectors-{newer.checksum}"]
    assert any(f"derived/vectors-{older.checksum}/vectors.npy" in c.files for c in collected)
    assert len(index.best(vectors[3:4], top=1)[0].best) == 1, "who has it mapped keeps it"
    shutil.rmtree(folders(older)[0])
    assert gc(root, options=every) == []


def test_an_empty_table_has_no_answer(tmp_path):
    index = VectorIndex.of(table_of(tmp_path, near_and_equal(0, 8), parts=1))
    assert index.best(near_and_equal(2, 8), top=3)[1].best == []


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-3, 1.0, 7.0, 1e200, 1e308])
def test_vectors_of_any_length_become_unit_ones(scale):
    given = near_and_equal(4, 8).astype(np.float64)
    found = unit_queries(given * scale, width=8)
    assert np.allclose(found, given, atol=1e-3 if scale == 1e-320 else 1e-6)
    if scale == 1.0:
        assert np.array_equal(found, given.astype(np.float32)), "every bit of ours stays"
