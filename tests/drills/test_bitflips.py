"""Short form of `python -m tests.drills.bitflips`: flips are found, every kind of file repaired."""

import random
import shutil

import pytest

from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.upkeep.repair import repair, stages_to_run, videos_of
from tests.drills.bitflips import build, checksums, files_of, flip, is_found, is_restored, run_again

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bitflips"))


def test_two_hundred_flips_are_found(config):
    rng = random.Random(1)
    files = files_of(config.store)
    kinds = list(files)
    for number in range(200):
        path = rng.choice(files[kinds[number % len(kinds)]])
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        assert is_found(config.store, path), (path, bit)
        flip(path, bit)
    assert verify_store(open_root(config.store)) == []


def test_a_flip_in_any_kind_of_file_is_repaired(config, tmp_path):
    rng = random.Random(2)
    kinds = files_of(config.store)
    sample = [
        *(kind for kind in kinds if kind.endswith((" part", " snapshot"))),
        "frames identity", "corpus removal", "corpus removal done", "run", "format",
    ]  # fmt: skip
    assert len(sample) >= 12
    for kind in sample:
        path = rng.choice(kinds[kind])
        bit = rng.randrange(path.stat().st_size * 8)
        assert is_restored(config, path, bit, folder=tmp_path), (path, bit)


def copy_of(config, folder):
    shutil.copytree(config.store, folder / "store")
    return last_config(str(folder / "store"))


@pytest.mark.parametrize("kind", ["corpus", "frames", "checkpoint", "embeddings"])
def test_lost_and_cut_files_are_repaired_at_once(config, tmp_path, kind):
    copy = copy_of(config, tmp_path)
    files = files_of(copy.store)
    files[f"{kind} part"][0].unlink()
    cut = files[f"{kind} receipt"][-1]
    cut.write_bytes(cut.read_bytes()[:50])
    files[f"{kind} snapshot"][-1].write_bytes(b"")
    for path in files["corpus pin"]:
        path.write_bytes(b"?")
    repaired = repair(copy.store)
    assert repaired.has_run
    run_again(copy)
    assert verify_store(open_root(copy.store)) == []
    assert rows(copy) == rows(config)


def rows(config):
    """Rows of the video table, whatever parts hold them."""
    from reelvec.storage.commits.artifact import Artifact
    from reelvec.storage.tables import read_table

    root = open_root(config.store)
    tables = next(a.latest() for a in Artifact.all(root) if a.kind == "embeddings")
    return sorted(read_table(tables, "videos").to_pylist(), key=lambda row: row["video_id"])


def test_exactly_the_lost_videos_are_redone(config, tmp_path):
    copy = copy_of(config, tmp_path)
    before = set(files_of(copy.store)["frames part"])
    damaged = files_of(copy.store)["frames part"][1]
    flip(damaged, 12345)
    (done,) = repair(copy.store).repairs
    assert not damaged.exists()
    assert any(damaged.name in path.name for path in tmp_path.rglob(".damaged/**/parts/*"))
    run_again(copy)
    after = set(files_of(copy.store)["frames part"])
    assert (before - after, len(after - before)) == ({damaged}, 1)
    redone = videos_of(copy, [done.damage])
    assert 0 < len(redone) == len(done.damage.keys) < 8
    assert stages_to_run(copy.store)[:2] == ["ingest", "extract"]
    assert checksums(copy.store) == checksums(config.store)


def test_all_snapshots_lost_costs_no_decoding(config, tmp_path):
    copy = copy_of(config, tmp_path)
    parts = set(files_of(copy.store)["frames part"])
    for path in files_of(copy.store)["frames snapshot"]:
        flip(path, 7)
    repair(copy.store)
    run_again(copy)
    assert set(files_of(copy.store)["frames part"]) == parts
    assert checksums(copy.store) == checksums(config.store)


def test_without_any_run_record_the_store_is_valid_all_the_same(config, tmp_path):
    copy = copy_of(config, tmp_path)
    for path in files_of(copy.store)["run"]:
        flip(path, 99)
    assert repair(copy.store).has_run is False
    assert verify_store(open_root(copy.store)) == []
    assert repair(copy.store).repairs == []
