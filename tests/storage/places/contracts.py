"""What every root must do; a new kind of root adds a `make_root` and inherits the tests."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import Root


def read_into(root: Root, path: str, *, start: int, count: int) -> bytes:
    out = bytearray(count)
    return bytes(out[: root.read_into(path, start=start, out=memoryview(out))])


class RootContract:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Root:
        raise NotImplementedError

    def test_bytes_come_back(self, root: Root) -> None:
        root.put_new("a/b/c.json", b"hello")
        assert root.read("a/b/c.json") == b"hello"
        assert root.size("a/b/c.json") == 5
        assert root.exists("a/b/c.json") and not root.exists("a/b/d.json")
        assert root.local_path("a/b/c.json").read_bytes() == b"hello"
        assert read_into(root, "a/b/c.json", start=1, count=2) == b"el"
        assert read_into(root, "a/b/c.json", start=3, count=96) == b"lo"
        root.put_new("a/empty", b"")
        ends = {"a/b/c.json": 5, "a/empty": 0}
        for path, end in ends.items():
            assert read_into(root, path, start=end, count=1) == b""
            assert read_into(root, path, start=end + 7, count=3) == b""
        root.delete("a/empty")
        assert root.list("a/b") == ["c.json"]
        assert root.list("a") == ["b"]
        assert root.list("nowhere") == []
        assert 0 <= root.age_seconds("a/b/c.json") < 60

    def test_a_name_is_taken_once(self, root: Root, tmp_path: Path) -> None:
        root.put_new("x", b"first")
        with pytest.raises(FileExistsError):
            root.put_new("x", b"second")
        file = tmp_path / "elsewhere"
        file.write_bytes(b"third")
        with pytest.raises(FileExistsError):
            root.put_file("x", file)
        with pytest.raises(FileExistsError), root.new_file("x") as path:
            path.write_bytes(b"fourth")
        assert root.read("x") == b"first"

    def test_of_many_writers_one_wins(self, root: Root) -> None:
        outcomes: list[int] = []
        start = threading.Barrier(8)

        def write(number: int) -> None:
            start.wait()
            try:
                root.put_new("n", bytes([number]) * 1000)
                outcomes.append(number)
            except FileExistsError:
                pass

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == 1
        assert root.read("n") == bytes(outcomes) * 1000

    def test_files_from_scratch_and_elsewhere(self, root: Root, tmp_path: Path) -> None:
        scratch = root.new_scratch(".bin")
        assert scratch != root.new_scratch(".bin") and scratch.suffix == ".bin"
        scratch.write_bytes(b"scratch")
        root.put_file("from/scratch.bin", scratch)
        file = tmp_path / "outside.bin"
        file.write_bytes(b"outside")
        root.put_file("from/outside.bin", file)
        assert root.read("from/scratch.bin") == b"scratch"
        assert root.read("from/outside.bin") == b"outside"

    def test_new_file_is_published_whole_or_not_at_all(self, root: Root) -> None:
        with root.new_file("good.txt") as path:
            path.write_text("all of it")
            assert not root.exists("good.txt")
        assert root.read("good.txt") == b"all of it"
        with pytest.raises(ZeroDivisionError), root.new_file("bad.txt") as path:
            path.write_text(f"half of {1 // 0}")
        assert not root.exists("bad.txt")
        assert root.list(".scratch") == []

    def test_missing_says_so(self, root: Root) -> None:
        for ask in (root.read, root.size, root.local_path, root.age_seconds):
            with pytest.raises(MissingArtifactError, match="not there"):
                ask("no/such")

    def test_delete_takes_many_and_does_not_mind_absence(self, root: Root) -> None:
        root.put_new("a/1", b"1")
        root.put_new("b/2", b"2")
        root.delete("a/1", "b/2", "c/3")
        assert not root.exists("a/1") and not root.exists("b/2")
        root.put_new("a/1", b"again")
        assert root.read("a/1") == b"again"

    @pytest.mark.parametrize(
        "path", ["/etc/x", "../x", "a/../../x", "a//b", "a/./b", "a\0b", "", "."]
    )
    def test_no_path_leaves_the_store(self, root: Root, path: str) -> None:
        with pytest.raises(StoreError, match="no path inside a store"):
            root.put_new(path, b"x")
        with pytest.raises(StoreError, match="no path inside a store"):
            root.read(path)
