"""A whole run whose store is on an S3 server in another process: the same bytes as in a folder."""

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")


from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.runs.status import describe_store
from tests.support import s3_server
from tests.support.command_line import typed
from tests.support.engine_free import run_all, run_ingest


@pytest.fixture(scope="module")
def server():
    with s3_server.s3_server() as url:
        s3_server.make_bucket(url)
        yield url


@pytest.fixture
def on_server(server, monkeypatch, tmp_path):
    for name, value in s3_server.environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    return f"s3://{s3_server.BUCKET}/{tmp_path.name}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eight real clips with captions, and a text file that calls itself a video."""
    folder = tmp_path_factory.mktemp("videos")
    config = SyntheticCorpus(videos=8, seconds=1.0, fps=4, size=64)
    listing = open_corpus(config, store_dir=tmp_path_factory.mktemp("drawn")).read()
    rows = [("video_id", "path", "caption")]
    for video, caption in zip(listing.videos, listing.captions, strict=False):
        name = Path(shutil.copy(video.path, folder)).name
        rows.append((video.video_id, name, caption.text))
    (folder / "text.mp4").write_text("no video")
    rows.append(("text", "text.mp4", "nothing to see"))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def config_of(source, store):
    return PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": {
                "kind": "folder",
                "videos": str(source),
                "captions": str(source / "captions.csv"),
            },
            "extract": {"size": 64, "shard_videos": 4, "sampling": {"rate": 2.0}},
            "model": {"max_frames": 2, "options": {"sim_header": "meanP"}},
            "train": {"epochs": 1, "batch_size": 6, "threads": 1},
            "embed": {"shard_rows": 4},
        }
    )


def checksums(store):
    return {a.kind: a.checksum for a in describe_store(str(store))}


@pytest.mark.slow
def test_a_whole_run_gives_the_bytes_it_gives_in_a_folder(source, on_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_all(config_of(source, tmp_path / "store"))
    config = config_of(source, on_server)
    _, first = run_all(config)
    found = checksums(on_server)
    assert found == checksums(tmp_path / "store")
    assert set(found) == {"corpus", "frames", "checkpoint", "embeddings"}
    assert verify_store(open_root(on_server)) == []
    assert not any(path.name.startswith("s3:") for path in tmp_path.iterdir())
    logs = list((tmp_path / "cache").rglob("train-*.log"))
    assert len(logs) == 1, "the log of the training processes is a plain file of this machine"
    scratch = tmp_path / "cache" / "scratch"
    assert list(scratch.iterdir()) == []
    plans, again = run_all(config)  # another process would find the same: nothing is left to do
    assert (plans["ingest"].shards, plans["extract"].shards, plans["embed"].shards) == ([], [], [])
    assert again.number == first.number


def test_drawn_videos_go_to_the_local_folder_of_the_store(on_server, tmp_path):
    config = config_of(tmp_path, on_server).model_copy(
        update={"corpus": SyntheticCorpus(videos=2, seconds=1.0, fps=4, size=64)}
    )
    _, snapshot = run_ingest(config)
    assert snapshot.counts("videos").ok == 2
    drawn = list((tmp_path / "cache" / "stores").rglob("shapes-*"))
    assert len(drawn) == 2


def test_an_index_of_a_store_on_a_server_is_made_searched_with_and_collected(
    real_store, on_server, monkeypatch, capsys
):
    pytest.importorskip("faiss")
    client, prefix = s3_server.client(), on_server.rpartition("/")[2]
    root = open_root(on_server)
    for path in sorted(Path(real_store.store).rglob("*")):
        name = path.relative_to(real_store.store)
        if path.is_file() and not {"derived", ".scratch"} & set(name.parts):
            client.upload_file(str(path), s3_server.BUCKET, f"{prefix}/{name}")

    def words(*words):
        return typed(monkeypatch, capsys, *words, "--store", on_server, "--json")

    code, out, err = words("index", "--recall", "0.9")
    made = json.loads(out)
    assert (code, made["recall"]) == (0, 1.0), err
    exact, found = (
        json.loads(words("search", "a shape", *how)[1]) for how in ([], ["--approximate"])
    )
    assert found["results"] == exact["results"]
    (folder,) = root.local_folder.rglob(f"index-{made['fingerprint'][:16]}-*")
    shutil.copytree(folder, folder.with_name(folder.name[:-4] + "0000"))
    code, out, err = words("gc", "--keep", "1", "--hours", "0")
    assert code == 0, err
    assert list(folder.parent.glob("index-*")) == [folder], "of a snapshot that is gone"
    again = json.loads(words("index", "--recall", "0.9")[1])
    assert again["fingerprint"] == made["fingerprint"]
    assert json.loads(words("search", "a shape", "--approximate")[1]) == found
