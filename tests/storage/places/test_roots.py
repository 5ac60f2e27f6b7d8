from __future__ import annotations

import errno
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from reelvec.storage.errors import StoreError
from reelvec.storage.places.failures import explained
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.places.part_cache import CacheOptions, PartCache
from reelvec.storage.roots import Root, open_root
from tests.storage.places.contracts import RootContract


class TestLocalRoot(RootContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Root:
        return open_root(tmp_path / "store")


def test_roots_open_by_path_and_by_file_uri(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    by_uri = open_root(f"file://{tmp_path}/with%20space")
    by_uri.put_new("x", b"1")
    assert open_root(str(tmp_path / "with space")).read("x") == b"1"
    with pytest.raises(StoreError, match="s4://bucket"):
        open_root("s4://bucket")


def test_opening_creates_nothing(tmp_path: Path) -> None:
    root = open_root(tmp_path / "none")
    assert root.list("corpus") == []
    assert not root.exists("corpus/x")
    assert not (tmp_path / "none").exists()


FAILURES = [
    (errno.ENOSPC, "free space"),
    (errno.EDQUOT, "free space"),
    (errno.EROFS, "writable"),
    (errno.EACCES, "chown or chmod"),
    (errno.EPERM, "chown or chmod"),
    (errno.EIO, "run again"),
]


def _publish_file(root: LocalRoot) -> None:
    with root.new_file("a/part") as path:
        path.write_bytes(b"x" * 1234)


VERBS: list[Callable[[LocalRoot], object]] = [
    lambda root: root.put_new("a/part", b"x" * 1234),
    _publish_file,
]


@pytest.mark.parametrize("point", ["fsync", "link"])
@pytest.mark.parametrize(("number", "remedy"), FAILURES)
@pytest.mark.parametrize("verb", VERBS)
def test_failures_name_path_need_and_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    number: int,
    remedy: str,
    verb: Callable[[LocalRoot], object],
) -> None:
    root = LocalRoot(tmp_path / "store")
    root.put_new("a/before", b"kept")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(f"reelvec.storage.places.local.os.{point}", fail)
        with pytest.raises(StoreError) as caught:
            verb(root)
    assert remedy in str(caught.value)
    assert str(tmp_path / "store" / "a" / "part") in str(caught.value)
    if number in (errno.ENOSPC, errno.EDQUOT) and point == "fsync":
        assert "1234 bytes are needed" in str(caught.value)
    assert not root.exists("a/part")
    assert root.list(".scratch") == []
    verb(root)  # the cause is gone: the same call succeeds
    assert root.size("a/part") == 1234
    assert root.read("a/before") == b"kept"


def test_a_file_system_without_hard_links_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("reelvec.storage.places.local.os.link", refuse)
    with pytest.raises(StoreError, match="no hard links"):
        LocalRoot(tmp_path).put_new("x", b"")


def test_a_clock_that_went_back_makes_no_negative_age(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    root.put_new("x", b"")
    os.utime(tmp_path / "x", (4e9, 4e9))
    assert root.age_seconds("x") == 0.0


def test_only_lets_other_errors_pass() -> None:
    with (
        pytest.raises(ConnectionError),
        explained("write", path=Path("/x"), only=(errno.ENOSPC,)),
    ):
        raise ConnectionError(errno.ECONNRESET, "not ours")
    with pytest.raises(StoreError), explained("write", path=Path("/x"), only=(errno.ENOSPC,)):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="chown or chmod"):
        LocalRoot(folder).put_new("x", b"")


def test_a_store_that_is_there_is_not_said_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".writers"))

    monkeypatch.setattr(LocalRoot, "_begin_writing", refuse)
    with pytest.raises(StoreError, match=f"cannot write in the store at {tmp_path}: Permission"):
        LocalRoot(tmp_path).put_new("x", b"")


def test_a_file_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "captions.csv"
    file.write_text("kept")
    for uri in (file, str(file), f"file://{file}"):
        with pytest.raises(StoreError, match=r"\(.*captions.csv\): it is a file, not a folder"):
            open_root(uri)
    below = open_root(file / "store")
    with pytest.raises(StoreError, match=r"cannot make the store at .*captions\.csv/store: "):
        below.put_new("x", b"1")
    assert file.read_text() == "kept"


def test_a_place_that_takes_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at" / "all")
    root = open_root(tmp_path / "dangling")
    with pytest.raises(StoreError, match=r"cannot make the store at .*dangling: ") as caught:
        root.put_new("x", b"1")
    assert "was it removed" not in str(caught.value)


def test_a_writers_file_lives_as_long_as_its_root(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    root.put_new("x", b"")
    (mine,) = root.list(".writers")
    there = pickle.loads(pickle.dumps(root))  # another process would say it for itself
    there.put_new("y", b"")
    assert len(root.list(".writers")) == 2
    assert root.writers() == there.writers() == []
    (tmp_path / ".writers" / mine).unlink()
    root.begin_writing()  # somebody tidied up
    assert len(root.list(".writers")) == 2
    del root, there
    gc.collect()
    assert list((tmp_path / ".writers").iterdir()) == []


def test_the_cache_removes_copies_alone(tmp_path: Path) -> None:
    cache = PartCache(CacheOptions(tmp_path / "cache", limit_bytes=1, grace_seconds=0.0))
    parts = tmp_path / "cache" / "parts"
    (parts / "folder").mkdir(parents=True)
    (tmp_path / "letters").write_text("kept")
    (parts / "link").symlink_to(tmp_path / "letters")
    for name in ("one", "two"):
        cache.get(name, size=1, fetch=lambda target: target.write_bytes(b"x") and None)
    assert sorted(path.name for path in parts.iterdir()) == ["folder", "link", "two"]
    moved = parts.rename(tmp_path / "elsewhere")
    parts.symlink_to(moved)
    cache.get("three", size=1, fetch=lambda target: target.write_bytes(b"x") and None)
    assert (moved / "two").exists(), "what is behind a link may be somebody else's"
