"""The store's format: said by the first writer, looked at by everybody, a newer one refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import FormatError
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import FORMAT, PLAIN, format_of_store, stamp_format
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_store
from tests.storage.commits.contracts import flip_bit, ok, write_part

OURS = layout.store_format(PLAIN)
NEWER = layout.store_format(FORMAT + 1)


def grow(root: Root, key: str) -> Artifact:
    artifact = Artifact.open(root, kind="corpus", identity={"a": 1})
    artifact.publish(add=[write_part(artifact, ok(key))])
    return artifact


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_first_writer_says_it_and_nobody_before(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    assert files(tmp_path) == {}
    Artifact.open(root, kind="corpus", identity={"a": 1})
    assert unseal(root.read(OURS), path=OURS) == {"format": PLAIN}
    assert root.list(layout.FORMATS) == [OURS.rpartition("/")[2]]
    assert format_of_store(root) == PLAIN


@pytest.mark.parametrize("write", ["publish", "run", "artifact"])
def test_a_store_from_before_is_of_format_1_and_says_so_when_it_is_next_written(
    tmp_path: Path, write: str
) -> None:
    grow(open_root(tmp_path), "a")
    shutil.rmtree(tmp_path / layout.FORMATS)
    old = files(tmp_path)
    root = open_root(tmp_path)
    assert format_of_store(root) == 1
    artifact = Artifact.open(root, kind="corpus", identity={"a": 1})
    assert artifact.latest() is not None
    assert verify_store(root) == []
    gc(root)
    assert files(tmp_path) == old
    if write == "publish":
        grow(root, "b")
    elif write == "run":
        write_run(root, RunRecord(name="r", config={}, started="2026-01-01T00:00:00+00:00"))
    else:
        Artifact.open(root, kind="frames", identity={"b": 2})
    assert root.exists(layout.store_format(1))
    assert {name: data for name, data in files(tmp_path).items() if name in old} == old


def test_a_newer_format_is_refused_with_words(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    grow(root, "a")
    root.put_new(NEWER, seal({"format": FORMAT + 1}))
    root.put_new(layout.store_format(FORMAT + 2), seal({"format": FORMAT + 2}))
    with pytest.raises(FormatError) as refused:
        open_root(tmp_path)
    words = str(refused.value)
    assert f"{tmp_path} is of format {FORMAT + 2}" in words
    assert f"up to {FORMAT}" in words
    assert "pip install --upgrade" in words


def test_a_writer_at_work_notices_that_the_format_was_raised(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    artifact = grow(root, "a")
    receipt = write_part(artifact, ok("b"))
    root.put_new(NEWER, seal({"format": FORMAT + 1}))
    with pytest.raises(FormatError):
        artifact.publish(add=[receipt])
    latest = artifact.latest()
    assert latest is not None
    assert latest.number == 1


def test_two_first_writers_agree(tmp_path: Path) -> None:
    class Slow(LocalRoot):
        """Another writer says it between this one's look and its writing."""

        def exists(self, path: str) -> bool:
            there = super().exists(path)
            if path == OURS and not there:
                stamp_format(open_root(tmp_path))
            return there

    root = Slow(tmp_path)
    grow(root, "a")
    assert unseal(root.read(OURS), path=OURS) == {"format": PLAIN}
    assert verify_store(root) == []


def test_gc_leaves_it_and_verify_and_repair_know_it(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    grow(root, "a")
    gc(root, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    assert root.exists(OURS)
    flip_bit(tmp_path / OURS, 90)
    (damage,) = verify_store(open_root(tmp_path))
    assert (damage.kind, damage.path) == ("format", OURS)
    (repair,) = repair_store(root)
    assert repair.done == "written anew from its name"
    assert unseal(root.read(OURS), path=OURS) == {"format": PLAIN}
    assert verify_store(root) == []
