"""Every kind of export under one contract, each opened with the tool it is for."""

import base64
import io
import json
import re
import shlex
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.storage.tables import read_table
from reelvec.tasks.exports import export as exports
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import TARGETS, export

EACH = sorted(TARGETS)


@dataclass
class Opened:
    """What a tool read: ids and vectors by table, frames by video."""

    ids: dict
    vectors: dict
    pictures: dict | None = None


def open_parquet(out):
    tables = {name: pq.read_table(out / f"{name}.parquet") for name in ("videos", "captions")}
    return opened_tables(tables)


def opened_tables(tables):
    return Opened(
        {name: rows.column(0).to_pylist() for name, rows in tables.items()},
        {name: np.array(rows.column(EMBEDDING).to_pylist()) for name, rows in tables.items()},
    )


def open_numpy(out):
    names = ("videos", "captions")
    facts = (out / "captions.csv").read_text().splitlines()
    assert len(facts) == 1 + len(np.load(out / "captions.ids.npy"))
    return Opened(
        {name: np.load(out / f"{name}.ids.npy").tolist() for name in names},
        {name: np.load(out / f"{name}.embedding.npy", mmap_mode="r") for name in names},
    )


def open_faiss(out):
    faiss = pytest.importorskip("faiss")
    names = ("videos", "captions")
    indexes = {name: faiss.read_index(str(out / f"{name}.faiss")) for name in names}
    vectors = {name: index.reconstruct_n(0, index.ntotal) for name, index in indexes.items()}
    scores, rows = indexes["videos"].search(vectors["videos"], 1)
    assert rows[:, 0].tolist() == list(range(len(rows)))
    assert np.allclose(scores, 1, atol=1e-5)
    return Opened({n: np.load(out / f"{n}.ids.npy").tolist() for n in names}, vectors)


def open_lancedb(out):
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(str(out))
    tables = {name: database.open_table(name) for name in ("videos", "captions")}
    arrow = {name: table.to_arrow() for name, table in tables.items()}
    first = arrow["videos"].slice(3, 1).to_pylist()[0]
    (found,) = tables["videos"].search(first[EMBEDDING]).limit(1).to_list()
    assert found["video_id"] == first["video_id"]
    facts = json.loads(tables["videos"].schema.metadata[b"reelvec.export"])
    assert facts["run"] == "fake"
    return opened_tables(arrow)


def open_hf(out):
    datasets = pytest.importorskip("datasets")

    def rows(config):
        cache = str(out.parent / "hf-cache")
        splits = datasets.load_dataset(str(out), config, cache_dir=cache)
        assert sorted(splits) == ["test", "train"]
        return [row for split in sorted(splits, reverse=True) for row in splits[split]]

    pictures = {}
    for row in rows("frames"):
        pictures.setdefault(row["video_id"], []).append(np.asarray(row["image"]))
    tables = {name: rows(name) for name in ("videos", "captions")}
    key = {"videos": "video_id", "captions": "caption_id"}
    return Opened(
        {name: [row[key[name]] for row in some] for name, some in tables.items()},
        {name: np.array([row[EMBEDDING] for row in some]) for name, some in tables.items()},
        pictures,
    )


def open_webdataset(out):
    webdataset = pytest.importorskip("webdataset")
    shards = [str(path) for path in sorted(out.glob("videos-*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    said = [(s["json"], s["captions.embedding.npy"]) for s in samples]
    captions = [(c, v) for facts, v in said for c in zip(facts["captions"], v, strict=True)]
    pictures = {
        s["json"]["video_id"]: [s[name] for name in sorted(s) if name.endswith(".jpg")]
        for s in samples
    }
    return Opened(
        {
            "videos": [sample["json"]["video_id"] for sample in samples],
            "captions": [caption["caption_id"] for (caption, _), _ in captions],
        },
        {
            "videos": np.stack([sample["embedding.npy"] for sample in samples]),
            "captions": np.stack([vector for (_, vector), _ in captions]),
        },
        {name: some for name, some in pictures.items() if some},
    )


def open_atlas(out):
    """As Embedding Atlas does, which is not installed: pandas reads the file, ids are rows."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(out / "videos.parquet")
    assert np.isfinite(frame[["projection_x", "projection_y"]].to_numpy()).all()
    near = np.stack([row["ids"] for row in frame["neighbors"]])
    far = np.stack([row["distances"] for row in frame["neighbors"]])
    assert near[:, 0].tolist() == list(range(len(frame)))
    assert (np.diff(far, axis=1) >= 0).all()
    assert all(row["bytes"][:2] == b"\xff\xd8" for row in frame["thumbnail"])
    assert "caption 0 of v003" in frame.set_index("video_id").loc["v003", "text"]
    return Opened({"videos": frame["video_id"].tolist()}, {})


def open_fiftyone(out):
    """As `fiftyone.Dataset.from_json` does, which is not installed: it brings a database."""
    document = json.loads((out / "samples.json").read_text("utf-8"))
    assert document["media_type"] == "video"
    assert document["sample_fields"]["embedding"] == "fiftyone.core.fields.VectorField"
    assert document["info"]["reelvec"]["run"] == "fake"
    samples = document["samples"]
    assert document["num_samples"] == len(samples)
    packed = [base64.b64decode(s["embedding"]["$binary"]["base64"]) for s in samples]
    vectors = [np.load(io.BytesIO(zlib.decompress(one))) for one in packed]
    assert samples[0]["filepath"] == f"/videos/{samples[0]['video_id']}.mp4"
    assert all(s["tags"] == [s["split"]] for s in samples)
    return Opened({"videos": [s["video_id"] for s in samples]}, {"videos": np.stack(vectors)})


def open_mteb(out):
    """Numbers alone: no row of a table is in it (tests/tasks/exports/test_mteb.py)."""
    assert len(list(out.glob("results/reelvec__*/*/*.json"))) == 3
    return Opened({}, {})


OPEN = {
    "parquet": open_parquet,
    "numpy": open_numpy,
    "faiss": open_faiss,
    "lancedb": open_lancedb,
    "hf-dataset": open_hf,
    "webdataset": open_webdataset,
    "atlas": open_atlas,
    "fiftyone-json": open_fiftyone,
    "mteb": open_mteb,
}
GROUPED = {"hf-dataset": "split", "webdataset": "video_id"}
"""Exports that put captions (and rows of a split) together: the order within a group stays."""


@pytest.fixture(scope="module")
def written(exported_run, tmp_path_factory):
    """Writes each kind once."""
    folder, done = tmp_path_factory.mktemp("out"), {}

    def write(to):
        if TARGETS[to].package:
            pytest.importorskip(TARGETS[to].package)
        if to not in done:
            export(exported_run[0], folder / to, to=to, settings=ExportSettings())
            done[to] = folder / to
        return done[to]

    return write


@pytest.mark.parametrize("to", EACH)
def test_rows_are_those_in_force_in_order_with_their_vectors(to, written, exported_run):
    """Failed videos, a row that was embedded again and a caption that is gone: none too many."""
    source, videos, captions = exported_run
    found = OPEN[to](written(to))
    wanted = {"videos": videos, "captions": captions}
    if to == "webdataset":  # a sample is a video: captions of failed ones have none
        wanted["captions"] = [one for one in captions if one.partition("-")[0] in videos]
    for table, ids in found.ids.items():
        rows = read_table(source.embeddings, table)
        stored = dict(zip(rows.column(0).to_pylist(), rows.column(EMBEDDING), strict=True))
        assert sorted(ids) == sorted(wanted[table])
        if to not in GROUPED:
            assert ids == wanted[table]
        if table in found.vectors:
            expected = np.array([stored[one].as_py() for one in ids], np.float32)
            assert np.array_equal(np.asarray(found.vectors[table], np.float32), expected)


@pytest.mark.parametrize("to", ["hf-dataset", "webdataset"])
def test_groups_keep_their_order(to, written, exported_run):
    _, videos, captions = exported_run
    found = OPEN[to](written(to))
    if to == "webdataset":
        assert found.ids["videos"] == videos
        owners = [one.partition("-")[0] for one in found.ids["captions"]]
        assert owners == sorted(owners, key=videos.index)
    else:
        train = [one for one in videos if one < "v004"]
        assert found.ids["videos"] == train + [one for one in videos if one not in train]
        train = [one for one in captions if one < "v004"]
        assert found.ids["captions"] == train + [one for one in captions if one not in train]


@pytest.mark.parametrize("to", ["hf-dataset", "webdataset"])
def test_frames_are_the_stored_ones(to, written, exported_run):
    """JPEGs of quality 95 of flat shapes: within a few levels."""
    source, videos, _ = exported_run
    pictures = OPEN[to](written(to)).pictures
    assert sorted(pictures) == sorted(videos)
    for row in read_table(source.embeddings, "videos").to_pylist():
        stored = source.reader.frames(row["clip_key"])
        error = np.abs(np.stack(pictures[row["video_id"]]).astype(int) - stored)
        assert error.mean() < 4


@pytest.mark.parametrize("to", EACH)
def test_it_says_of_what_it_is(to, written, exported_run):
    facts = json.loads((written(to) / "export.json").read_text())
    source = exported_run[0]
    assert facts["weights"] == "ab" * 16
    assert facts["identity"] == source.embeddings.artifact.identity
    assert facts["artifacts"]["embeddings"] == {
        "fingerprint": source.embeddings.artifact.fingerprint,
        "snapshot": source.embeddings.number,
    }
    assert facts["tables"] == {"videos": 11, "captions": 21}
    there = {p.relative_to(written(to)).as_posix() for p in written(to).rglob("*") if p.is_file()}
    assert set(facts["files"]) == there - {"export.json"}


def test_neighbours_are_those_of_every_pair(written, exported_run):
    frame = pq.read_table(written("atlas") / "videos.parquet")
    rows = read_table(exported_run[0].embeddings, "videos").column(EMBEDDING).to_pylist()
    cosines = np.array(rows) @ np.array(rows).T
    for row, near in enumerate(frame.column("neighbors").to_pylist()):
        order = sorted(range(len(rows)), key=lambda other: (other != row, -cosines[row, other]))
        assert near["ids"] == order
        assert np.allclose(near["distances"][1:], 1 - cosines[row, order[1:]], atol=1e-5)


@pytest.mark.skipif(not shutil.which("embedding-atlas"), reason="embedding-atlas is not there")
def test_embedding_atlas_itself_shows_every_video(written, tmp_path):
    """By the command the export prints; it has an environment of its own."""
    out = written("atlas")
    command = shlex.split(TARGETS["atlas"].opened_by.replace("OUT", str(out)))
    subprocess.run([*command, "--export-application", str(tmp_path / "app")], check=True)
    shown = pq.read_table(tmp_path / "app/data/dataset.parquet")
    given = pq.read_table(out / "videos.parquet")
    assert shown.select(["video_id"]).to_pylist() == given.select(["video_id"]).to_pylist()
    assert shown.column("neighbors").to_pylist() == given.column("neighbors").to_pylist()
    ranks = shown.column("pagerank").to_numpy()  # of the neighbours, which it has understood
    assert np.isclose(ranks.sum(), 1) and len(set(ranks)) > 1
    named = json.loads((tmp_path / "app/data/metadata.json").read_text())["props"]["data"]
    assert named["projection"] == {"x": "projection_x", "y": "projection_y"}
    assert (named["text"], named["image"]) == ("text", "thumbnail")


@pytest.mark.parametrize("to", TARGETS)
def test_what_opens_it_is_told_so_that_a_folder_with_spaces_can_be_named(to):
    told = TARGETS[to].opened_by
    assert "OUT" in told and not re.search(r"""(?<!['"])OUT""", told)


# -- the folder ------------------------------------------------------------------------------------


def test_a_folder_with_files_is_left_alone(exported_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(RequestError, match="no export; name another"):
            write_parquet(exported_run, tmp_path / "mine", force=force)
    assert (tmp_path / "mine/thesis.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RequestError, match="no folder"):
        write_parquet(exported_run, tmp_path / "file", force=True)


def test_an_export_is_replaced_when_asked(exported_run, tmp_path):
    out = tmp_path / "deep/out"
    write_parquet(exported_run, out)
    with pytest.raises(RequestError, match="--force replaces it"):
        write_parquet(exported_run, out)
    export(exported_run[0], out, to="numpy", settings=ExportSettings(), force=True)
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    assert not (out / "videos.parquet").exists() and (out / "videos.ids.npy").exists()
    (tmp_path / "empty").mkdir()
    write_parquet(exported_run, tmp_path / "empty")  # an empty folder is as good as none


@pytest.mark.parametrize("error", [KeyboardInterrupt, RequestError])
@pytest.mark.parametrize("before", [False, True])
def test_what_is_interrupted_leaves_what_was_there(
    error, before, exported_run, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    if before:
        write_parquet(exported_run, out)
    there = sorted(tmp_path.rglob("*"))

    def stopped(self, source, folder, *, settings):
        (folder / "videos.parquet").write_text("half")
        raise error("stopped")

    monkeypatch.setattr(exports.ParquetFiles, "write", stopped)
    with pytest.raises(error):
        write_parquet(exported_run, out, force=True)
    assert sorted(tmp_path.rglob("*")) == there
    assert not before or pq.read_metadata(out / "videos.parquet").num_rows == 11


def write_parquet(exported_run, out, **options):
    return export(exported_run[0], Path(out), to="parquet", settings=ExportSettings(), **options)


# -- what is refused -------------------------------------------------------------------------------


def test_wrong_choices_are_refused_before_anything_is_written(exported_run, tmp_path):
    source = exported_run[0]
    for to, settings, words in (
        ("csv", {}, "none of parquet, numpy"),
        ("parquet", {"neighbours": 3}, "no choice of --to parquet, but of atlas"),
    ):
        with pytest.raises(RequestError, match=words):
            export(source, tmp_path / "out", to=to, settings=ExportSettings(**settings))
    with pytest.raises(RequestError, match="folder of this machine"):
        write_parquet(exported_run, "s3://bucket/out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["faiss", "atlas", "mteb"])
def test_a_family_without_one_vector_a_row_is_refused(to, exported_run, tmp_path, monkeypatch):
    if TARGETS[to].package:
        pytest.importorskip(TARGETS[to].package)
    source = exported_run[0]
    monkeypatch.setattr("reelvec.tasks.exports.source.EMBEDDING", "sentence")
    with pytest.raises(RequestError, match="has none: its videos have embedding"):
        export(source, tmp_path / "out", to=to, settings=ExportSettings())
    assert list(tmp_path.iterdir()) == []
