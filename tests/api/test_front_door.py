"""`import reelvec`: few names, nothing imported before its use, and what each of them reads."""

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import reelvec
from reelvec.errors import RequestError
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.roots import open_root
from reelvec.storage.runs import list_runs, write_run
from reelvec.storage.tables import read_table
from reelvec.storage.upkeep.garbage import GcOptions, gc
from tests.support import s3_server

NAMES = {"FrameDataset", "ReelvecError", "Run", "Sample", "Store", "Table", "open"}


@pytest.fixture(scope="module")
def store(real_store):
    return reelvec.open(real_store.store)


@pytest.fixture(scope="module")
def run(store):
    return store.run()


@pytest.fixture
def copy(real_store, tmp_path):
    """A store to write in."""
    return shutil.copytree(real_store.store, tmp_path / "copy")


def latest(real_store, kind):
    (found,) = (a for a in Artifact.all(open_root(real_store.store)) if a.kind == kind)
    return found.latest()


# the module


def test_the_names_are_few_and_come_from_where_a_type_checker_sees_them():
    assert set(reelvec.__all__) == NAMES <= set(dir(reelvec))
    module = ast.parse(Path(reelvec.__file__).read_text())
    seen = {
        alias.name: node.module.removeprefix("reelvec.api.")
        for block in module.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == reelvec._ROOMS
    for name in NAMES:
        assert getattr(reelvec, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = reelvec.opne


def test_importing_it_imports_nothing_else():
    """Every room's import passes through it: the command line and the sandbox start quickly."""
    heavy = ["torch", "numpy", "pyarrow", "pandas", "pydantic", "prefect", "dask", "h5py", "av"]
    code = (
        "import sys; before = set(sys.modules); import reelvec; reelvec.ReelvecError;"
        f"print([m for m in {heavy} if m in sys.modules]);"
        "print(sorted(m for m in set(sys.modules) - before if m.startswith('reelvec')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["[]", "['reelvec', 'reelvec.errors']"]


def test_looking_at_tables_needs_no_torch_and_no_orchestrator(real_store):
    code = (
        f"import sys, reelvec; run = reelvec.open({real_store.store!r}).run();"
        "run.videos.numpy(); run.frames('clip1'); run.failures();"
        "print([m for m in ('torch', 'prefect', 'dask') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# opening


def test_a_path_that_is_no_store_is_refused_and_stays_as_it_was(tmp_path):
    (tmp_path / "runs").mkdir()  # anybody's folder may have one
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for path, why in [
        (tmp_path / "nowhere", "no such folder is there"),
        (tmp_path, "the folder there holds none"),
        (str(tmp_path / "file"), "it is a file"),
        ("http://example.org/x", "known are a folder's path"),
    ]:
        with pytest.raises(StoreError, match=why):
            reelvec.open(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_reading_changes_nothing_in_the_store(real_store, run):
    """What a search derives and keeps beside the tables is no data, and named by nothing."""

    def files():
        found = [p for p in Path(real_store.store).rglob("*") if p.is_file()]
        return {p: p.stat().st_mtime_ns for p in found if "derived" not in p.parts}

    before = files()
    run.search("a shape", top=1)
    run.dataset()[0]
    reelvec.open(real_store.store).status()
    assert files() == before


def test_runs_have_names_and_identifiers(store, run):
    first, second = store.runs()
    assert (first.name, second.name, run.name) == ("demo", "demo", "demo")
    assert run.identifier == second.identifier == store.run("demo").identifier
    assert store.run(first.identifier[:6]).identifier == first.identifier
    assert first.started < first.ended < second.ended
    assert run.config.store == store.uri and run.config.model.family == "frozen"
    with pytest.raises(MissingArtifactError, match=r"called \(dmeo\) .* there are: demo"):
        store.run("dmeo")


def test_a_run_of_the_list_is_read_as_it_ended(store):
    first, second = store.runs()
    assert len(first.captions) == 12 and len(second.captions) == 20
    assert "a shape, take 0 of clip 1" in first.captions.numpy("text")[1]
    assert first.artifacts["embeddings"].number == first.captions.snapshot == 1


def test_a_run_by_name_is_read_as_the_store_stands_now(copy):
    snapshot = reelvec.open(copy).run().artifacts["embeddings"]
    snapshot.artifact().publish(supersede={"videos": ["clip0"]})
    store = reelvec.open(copy)
    by_name, as_ended = store.run("demo"), store.runs()[-1]
    assert (len(by_name.videos), len(as_ended.videos)) == (7, 8)
    assert "clip0" not in by_name.videos.numpy()[0]
    assert len(store.run(as_ended.identifier).videos) == 8


def test_a_snapshot_that_gc_retired_gives_way_to_the_latest(copy):
    gc(open_root(copy), options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    first = reelvec.open(copy).runs()[0]
    assert (first.artifacts["embeddings"].number, first.captions.snapshot) == (1, 2)


def test_a_snapshot_that_is_lost_is_no_older_one(copy):
    (lost,) = Path(copy).glob("embeddings/*/snapshots/00000002.json")
    lost.unlink()
    for run in (reelvec.open(copy).run(), reelvec.open(copy).runs()[-1]):
        with pytest.raises(MissingArtifactError, match="has lost snapshot 2 of embeddings"):
            _ = run.videos


def test_a_run_that_only_scored_finds_the_tables_it_scored(copy, run):
    root = open_root(copy)
    last = list_runs(root)[-1]
    artifacts = {"evaluation": last.artifacts["evaluation"]}
    write_run(
        root, replace(last, name="scored", identifier="", started=last.ended, artifacts=artifacts)
    )
    scored = reelvec.open(copy).run()
    assert (scored.name, scored.metrics()) == ("scored", run.metrics())
    assert scored.videos.identity == run.videos.identity
    assert scored.failures()[0].video_id == "broken" and len(scored.dataset()) == 16
    assert scored.search("a shape", top=1) == run.search("a shape", top=1)


def test_a_run_without_tables_says_which_stage_makes_them(copy):
    root = open_root(copy)
    last = list_runs(root)[-1]
    artifacts = {"corpus": last.artifacts["corpus"]}
    write_run(
        root, replace(last, name="listed", identifier="", started=last.ended, artifacts=artifacts)
    )
    store = reelvec.open(copy)
    assert (store.run().name, store.runs()[-1].name) == ("demo", "listed")
    listed = store.run("listed")
    assert listed.tables == ("corpus_videos", "corpus_captions")
    assert {row.status for row in listed.ledger()} == {"quarantined", "pending"}
    with pytest.raises(MissingArtifactError, match=r"no embeddings, only corpus; .* stage embed"):
        _ = listed.videos
    with pytest.raises(MissingArtifactError, match="stage extract"):
        listed.frames("clip1")


def test_an_empty_store_has_no_run(tmp_path):
    (tmp_path / ".scratch").mkdir()
    store = reelvec.open(tmp_path)
    assert (store.runs(), store.status(), store.verify()) == ([], [], [])
    with pytest.raises(MissingArtifactError, match=r"no run in the store .* `reelvec demo`"):
        store.run()


# tables


def test_superseded_rows_are_never_among_them(real_store, run):
    parts = latest(real_store, "embeddings").parts("captions")
    written = sum(pq.read_table(part.path).num_rows for part in parts)
    assert written > len(run.captions) == 20, "the store has superseded rows to leave out"
    texts = run.captions.numpy("text")[1].tolist()
    assert len(texts) == 20 and "a shape, take 0 of clip 1" not in texts
    assert "another shape, take 0 of clip 1" in texts
    for rows in (run.captions.arrow(), run.captions.pandas()):
        assert len(rows) == 20


def test_arrow_pandas_and_numpy_are_the_same_rows(real_store, run):
    naive = read_table(latest(real_store, "embeddings"), "videos").to_pylist()
    assert run.videos.arrow().to_pylist() == naive
    ids, vectors = run.videos.numpy()
    assert ids.tolist() == [row["video_id"] for row in naive]
    assert (vectors.dtype, vectors.shape) == (np.float32, (8, 128))
    assert vectors.flags.writeable and vectors.flags.c_contiguous
    np.testing.assert_array_equal(vectors, np.array([r["embedding"] for r in naive], np.float32))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    frame = run.videos.pandas(["video_id", "embedding"])
    np.testing.assert_array_equal(np.stack(frame["embedding"].to_list()), vectors)
    assert run.videos.numpy("frame_count")[1].tolist() == [row["frame_count"] for row in naive]


def test_a_split_is_its_rows_and_those_of_none(real_store, run):
    naive = read_table(latest(real_store, "embeddings"), "captions").to_pylist()
    wanted = [row["caption_id"] for row in naive if row["split"] in ("test", "")]
    assert 0 < len(wanted) < len(naive)
    assert run.captions.numpy("text", split="test")[0].tolist() == wanted
    assert run.captions.arrow(["caption_id"], split="test").to_pydict() == {"caption_id": wanted}
    assert len(run.captions.pandas(split="test")) == len(wanted)
    ids, vectors = run.videos.numpy(split="test")  # a part of the table has none of them
    assert (ids.tolist(), vectors.shape) == ([f"clip{n}" for n in range(4, 8)], (4, 128))
    ids, vectors = run.videos.numpy(split="nowhere")
    assert (len(ids), vectors.shape) == (0, (0, 128))


def test_pieces_are_bounded_and_whole(run):
    pieces = list(run.captions.batches(["caption_id"], rows=4))
    assert max(piece.num_rows for piece in pieces) <= 4
    whole = pa.concat_tables(pieces).column("caption_id").to_pylist()
    assert whole == run.captions.numpy("text")[0].tolist()


def test_every_table_a_run_names_can_be_read(run):
    assert {"videos", "captions", "metrics", "coverage", "corpus_videos"} <= set(run.tables)
    for name in run.tables:
        assert len(run.table(name).arrow()) == len(run.table(name)) > 0
    assert "broken" in run.table("corpus_videos").numpy("status")[0]


def test_what_there_is_not_is_named(run):
    with pytest.raises(RequestError, match=r"no table is called \(vidoes\); there are videos"):
        run.table("vidoes")
    with pytest.raises(RequestError, match=r"no column \(vector\); it has video_id"):
        run.videos.numpy("vector")
    with pytest.raises(RequestError, match=r"no column \(split\)"):
        run.table("metrics").arrow(split="test")
    with pytest.raises(MissingArtifactError, match=r"no table \(training_set\)"):
        run.table("training_set")


def test_without_pandas_the_remedy_is_said(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RequestError, match=r"pip install pandas, or use Table\.arrow"):
        run.videos.pandas()


# frames and failures


def test_frames_are_those_of_the_store_with_their_times(real_store, run):
    reader = FrameReader(latest(real_store, "frames"))
    key = dict(zip(*run.videos.numpy("clip_key"), strict=True))["clip3"]
    clip = run.frames("clip3")
    np.testing.assert_array_equal(clip.frames, reader.frames(key))
    assert (clip.frames.dtype, clip.frames.shape) == (np.uint8, (4, 64, 64, 3))
    assert clip.pts_seconds.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert len(clip.frame_index) == 4


def test_a_video_without_frames_says_why(run):
    with pytest.raises(MissingArtifactError, match=r"\(broken\) .* quarantined \(unreadable"):
        run.frames("broken")
    with pytest.raises(MissingArtifactError, match=r"\(cut\) .* quarantined \("):
        run.frames("cut")
    with pytest.raises(RequestError, match=r"called \(clip33\) .* nearest are clip3"):
        run.frames("clip33")


def test_every_video_is_in_the_ledger_and_the_failed_ones_in_failures(run):
    videos = ["broken", *(f"clip{n}" for n in range(8)), "cut"]
    assert [row.video_id for row in run.ledger()] == videos
    failed = {row.video_id: row for row in run.failures()}
    assert {name: (row.stage, row.status) for name, row in failed.items()} == {
        "broken": ("ingest", "quarantined"),
        "cut": ("extract", "quarantined"),
    }
    assert failed["broken"].reason == "unreadable" and failed["cut"].message


def test_metrics_are_records_in_percent(run):
    recall = next(row for row in run.metrics() if (row.direction, row.metric) == ("t2v", "R@10"))
    assert (recall.value, recall.n) == (100.0, 8)


# the model


def test_texts_and_clips_are_encoded_as_the_tables_were(run):
    torch.set_num_threads(2)
    _, vectors = run.captions.numpy()
    texts = run.captions.numpy("text")[1].tolist()
    np.testing.assert_allclose(run.encode_texts(texts), vectors, atol=1e-6)
    names, of_videos = run.videos.numpy()
    clips = [run.frames(name).frames for name in names]
    np.testing.assert_allclose(run.encode_frames(clips), of_videos, atol=1e-6)
    assert run.encode_texts([]).shape == (0, vectors.shape[1])
    run.search("a shape")
    assert torch.get_num_threads() == 2, "a caller's thread count is the caller's"


def test_search_is_the_order_of_the_product(run):
    ids, vectors = run.videos.numpy()
    scores = (run.encode_texts(["a shape"]) @ vectors.T)[0]
    found = run.search("a shape", top=3)
    assert [row.video_id for row in found] == ids[np.argsort(-scores)][:3].tolist()
    assert found[0].path.endswith(f"{found[0].video_id}.mp4")
    assert found[0].pts_seconds == (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda run: run.encode_texts("a cat"), r"\(a cat\) must be a sequence"),
        (lambda run: run.encode_texts([None]), "must be a sequence of strings"),
        (lambda run: run.encode_texts(["a"], column="cls"), r"column \(cls\); it gives embedding"),
        (lambda run: run.encode_texts(["a"], device="gpu"), r"no device is called \(gpu\)"),
        (lambda run: run.encode_frames([np.zeros((2, 8, 8, 3))]), r"float64\[2, 8, 8, 3\]; each"),
        (lambda run: run.encode_frames([np.zeros((0, 64, 64, 3), np.uint8)]), "a frame at least"),
        (lambda run: run.search("a", top=0), r"top \(0\) must be at least 1"),
    ],
)
def test_what_the_model_cannot_take_is_refused(run, call, words):
    with pytest.raises(RequestError, match=words):
        call(run)


# elsewhere


def test_a_store_on_s3_is_read_alike(real_store, run, monkeypatch, tmp_path):
    with s3_server.s3_server() as url:
        for name, value in s3_server.environment(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REELVEC_CACHE", str(tmp_path))
        s3_server.make_bucket(url)
        there = open_root(f"s3://{s3_server.BUCKET}/shop")
        with pytest.raises(MissingArtifactError, match="nothing of a store is below it"):
            reelvec.open(there.uri)
        for file in sorted(Path(real_store.store).rglob("*")):
            if file.is_file():
                there.put_new(str(file.relative_to(real_store.store)), file.read_bytes())
        remote = reelvec.open(there.uri).run("demo")
        np.testing.assert_array_equal(remote.videos.numpy()[1], run.videos.numpy()[1])
        assert remote.frames("clip1").frames.tolist() == run.frames("clip1").frames.tolist()
        assert remote.search("a shape") == run.search("a shape")
