"""What is known of weights files: good for the same files and the same code, and for no others."""

import os

import pytest

from reelvec.storage.roots import open_root
from reelvec.storage.weights import known
from reelvec.storage.weights.known import KnownWeights, WeightsMark, keep, recall

FOUND = KnownWeights("ab" * 16, {"model": {"family": "frozen"}, "extract": {"size": 224}})
NOTHING = KnownWeights()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "store").mkdir()
    return open_root(tmp_path / "store")


@pytest.fixture(params=["file", "folder"])
def weights(request, tmp_path):
    """The name of weights, and the file that is changed."""
    path = tmp_path / "weights" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"one")
    (path.parent / "config.json").write_bytes(b"{}")
    return (str(path) if request.param == "file" else f"hf:{path.parent}"), path


def test_what_was_found_is_known_of_the_same_files(root, weights):
    name, _ = weights
    assert recall(root, WeightsMark.of(name)) == NOTHING
    keep(root, WeightsMark.of(name), found=KnownWeights(hash=FOUND.hash))
    keep(root, WeightsMark.of(name), found=KnownWeights(choice=FOUND.choice))
    assert recall(root, WeightsMark.of(name)) == FOUND
    assert recall(root, WeightsMark.of("hf:of/a-hub")) == NOTHING


def test_a_file_written_in_place_with_its_old_time_is_another(root, weights):
    name, path = weights
    keep(root, WeightsMark.of(name), found=FOUND)
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (3, before.st_mtime_ns)
    assert recall(root, WeightsMark.of(name)) == NOTHING


def test_other_code_knows_nothing(root, weights, monkeypatch):
    name, _ = weights
    keep(root, WeightsMark.of(name), found=FOUND)
    monkeypatch.setattr(known, "_code", lambda: b"another version")
    assert recall(root, WeightsMark.of(name)) == NOTHING


def test_a_record_that_is_damaged_is_as_if_there_were_none(root, weights):
    name, _ = weights
    keep(root, WeightsMark.of(name), found=FOUND)
    (record,) = (root.local_folder / "known").iterdir()
    whole = record.read_bytes()
    for data in (b"", b"{}", whole[:-9], whole.replace(b"224", b"225")):
        record.write_bytes(data)
        assert recall(root, WeightsMark.of(name)) == NOTHING
    record.write_bytes(whole)
    assert recall(root, WeightsMark.of(name)) == FOUND


def test_nothing_is_kept_without_a_store_or_in_one_that_refuses(tmp_path, root, weights):
    name, _ = weights
    nowhere = open_root(tmp_path / "nowhere")
    keep(nowhere, WeightsMark.of(name), found=FOUND)
    assert not nowhere.local_folder.exists()
    (root.local_folder / "known").write_bytes(b"a file where the folder should be")
    keep(root, WeightsMark.of(name), found=FOUND)
    assert recall(root, WeightsMark.of(name)) == NOTHING


def test_nothing_is_known_of_a_link_to_itself(tmp_path):
    loop = tmp_path / "loop.pt"
    loop.symlink_to(loop)
    assert WeightsMark.of(str(loop)).files == ()
