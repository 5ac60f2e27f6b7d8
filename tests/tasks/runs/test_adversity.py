"""A store that cannot be written, inputs that vanish, a clock that goes back: over a whole run.

Each time: a clear error or a ledger row, a store that verifies, and a later run that completes.
"""

import errno
import os
import shutil
from pathlib import Path

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.errors import CorpusError, StoreError
from reelvec.storage.frames.arrow import ArrowShardWriter
from reelvec.storage.roots import open_root
from reelvec.storage.tables import read_table
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.runs.status import describe_store
from tests.support.engine_free import run_all, run_embed, run_extract, run_ingest

STAGES = ["corpus", "frames", "checkpoint", "embeddings"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    config = SyntheticCorpus(videos=4, seconds=1.0, fps=4, size=64)
    listing = open_corpus(config, store_dir=tmp_path_factory.mktemp("drawn")).read()
    return [video.path for video in listing.videos]


@pytest.fixture
def videos(tmp_path, clips):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, clip in zip("abcd", clips, strict=True):
        shutil.copy2(clip, folder / f"{name}.mp4")
    return folder


def config_of(videos, store):
    return PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": {"kind": "folder", "videos": str(videos)},
            "extract": {"size": 64, "shard_videos": 2, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 4},
            "train": {"epochs": 0},
            "embed": {"shard_rows": 2},
        }
    )


@pytest.fixture
def undisturbed(videos, tmp_path):
    """Checksums of a run to which nothing happened."""
    store = tmp_path / "undisturbed"
    run_all(config_of(videos, store))
    return checksums(store)


def checksums(store):
    return {a.kind: a.checksum for a in describe_store(str(store))}


def rows(snapshot):
    return set(read_table(snapshot, "videos")["video_id"].to_pylist())


def is_valid(store):
    return verify_store(open_root(store)) == []


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "mount it writable"),
        (errno.EACCES, "chown or chmod"),
    ],
)
def test_a_store_that_cannot_be_written(
    videos, tmp_path, monkeypatch, undisturbed, kind, number, remedy
):
    """The first file of each kind that is published after the cause has set in fails."""
    store = tmp_path / "store"
    config = config_of(videos, store)
    link = os.link

    def refuse(source, target):
        if f"/{kind}/" in str(target) and "/identity" not in str(target):
            raise OSError(number, os.strerror(number))
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("reelvec.storage.places.local.os.link", refuse)
        with pytest.raises(StoreError) as caught:
            run_all(config)
    assert remedy in str(caught.value)
    assert f"{store}/{kind}/" in str(caught.value)
    assert is_valid(store)
    assert open_root(store).list(".scratch") == []
    run_all(config)
    assert checksums(store) == undisturbed


def test_a_disk_that_fills_in_the_middle_of_a_part(videos, tmp_path, monkeypatch, undisturbed):
    store = tmp_path / "store"
    config = config_of(videos, store)
    add, calls = ArrowShardWriter.add, []

    def fill(self, clip):
        calls.append(clip.clip_key)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, clip)

    with monkeypatch.context() as patch:
        patch.setattr(ArrowShardWriter, "add", fill)
        with pytest.raises(StoreError, match="free space"):
            run_all(config)
    assert is_valid(store)
    assert open_root(store).list(".scratch") == [], "half a part is left behind on a full disk"
    plans, _ = run_all(config)
    assert len(plans["extract"].adopted) == 1, "the shard before it was finished"
    assert checksums(store) == undisturbed


def test_a_video_that_vanishes_after_it_was_listed(videos, tmp_path, clips):
    store = tmp_path / "store"
    config = config_of(videos, store)
    run_ingest(config)
    (videos / "b.mp4").unlink()
    _, frames = run_extract(config)
    assert frames.counts().quarantined == 1 and frames.counts().reconciled
    (failed,) = (row for row in frames.outcomes() if row.status == "quarantined")
    assert failed.reason == "missing" and "b.mp4" in failed.message
    assert is_valid(store)
    shutil.copy2(clips[1], videos / "b.mp4")
    _, snapshot = run_all(config)
    assert rows(snapshot) == {"a", "b", "c", "d"}
    assert is_valid(store)


def test_a_folder_of_videos_that_vanishes(videos, tmp_path):
    store = tmp_path / "store"
    config = config_of(videos, store)
    run_all(config)
    before = checksums(store)
    videos.rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=str(videos)):
        run_all(config)
    assert checksums(store) == before, "an absent folder is no reason to drop its rows"
    (tmp_path / "elsewhere").rename(videos)
    plans, _ = run_all(config)
    assert (plans["ingest"].shards, plans["extract"].shards) == ([], [])


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_video_without_permission(videos, tmp_path):
    config = config_of(videos, tmp_path / "store")
    (videos / "b.mp4").chmod(0)
    _, snapshot = run_all(config)
    assert rows(snapshot) == {"a", "c", "d"}
    (videos / "b.mp4").chmod(0o600)
    _, snapshot = run_all(config)
    assert rows(snapshot) == {"a", "b", "c", "d"}


def test_a_store_that_vanishes_between_two_stages(videos, tmp_path, undisturbed):
    store = tmp_path / "store"
    config = config_of(videos, store)
    run_ingest(config)
    run_extract(config)
    frames = store / "frames"
    frames.rename(tmp_path / "frames")
    with pytest.raises(StoreError):
        run_embed(config)
    shutil.rmtree(frames, ignore_errors=True)
    (tmp_path / "frames").rename(frames)
    run_all(config)
    assert checksums(store) == undisturbed


def test_a_clock_that_goes_back(videos, tmp_path, clips, undisturbed):
    """Everything in the store was written in 2096, as far as the clock of now can tell."""
    store = tmp_path / "store"
    config = config_of(videos, store)
    (videos / "d.mp4").rename(tmp_path / "d.mp4")
    run_all(config)
    for path in [*Path(store).rglob("*"), *videos.iterdir()]:
        os.utime(path, (4e9, 4e9))
    run_all(config)  # the videos' times differ: they are looked at again, and are the same
    (tmp_path / "d.mp4").rename(videos / "d.mp4")
    plans, snapshot = run_all(config)
    assert plans["extract"].clips == plans["embed"].new == 1
    assert rows(snapshot) == {"a", "b", "c", "d"}
    assert is_valid(store)
    plans, again = run_all(config)
    assert (plans["ingest"].shards, plans["extract"].shards, plans["embed"].shards) == ([], [], [])
    assert again.number == snapshot.number
