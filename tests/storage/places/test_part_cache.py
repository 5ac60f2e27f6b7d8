"""The cache of copies: bounded, least used first, and safe from kills and from other processes."""

import os
import signal
import subprocess
import sys

import pytest

from reelvec.storage.errors import StoreError
from reelvec.storage.places.part_cache import CacheOptions, PartCache

HOLDER = """
import fcntl, os, sys, time
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(held, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def cache(tmp_path):
    return PartCache(CacheOptions(tmp_path, limit_bytes=3000, grace_seconds=0.0), name="files")


def filled(size):
    def fetch(target):
        target.write_bytes(b"x" * size)

    return fetch


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "files").iterdir())


def test_what_is_held_stays_whoever_makes_room(cache, tmp_path):
    held = cache.hold("a", size=1000, fetch=filled(1000))
    for name in "bcd":
        cache.get(name, size=1000, fetch=filled(1000))
    assert names(tmp_path) == ["a", "c", "d"], "the oldest is held, the one after it goes"
    cache.empty()
    assert names(tmp_path) == ["a"]
    held.close()
    held.close()
    cache.empty()
    assert names(tmp_path) == []


def test_a_fetch_that_is_killed_leaves_nothing_and_one_at_work_keeps_its_room(cache, tmp_path):
    (tmp_path / "files").mkdir()
    temporary = tmp_path / "files" / "0123456789abcdef-2500.part"
    command = [sys.executable, "-S", "-c", HOLDER, str(temporary)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        cache.get("a", size=400, fetch=filled(400))
        cache.get("b", size=400, fetch=filled(400))
        assert names(tmp_path) == [temporary.name, "b"], "2500 bytes are spoken for"
        os.kill(process.pid, signal.SIGKILL)
    cache.get("c", size=400, fetch=filled(400))
    assert names(tmp_path) == ["b", "c"], "the kernel let go of the lock: nobody fetches it"


def test_half_a_file_is_never_there_under_its_name(cache, tmp_path):
    def breaks(target):
        target.write_bytes(b"x" * 10)
        assert names(tmp_path) != ["a"]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.get("a", size=20, fetch=breaks)
    with pytest.raises(StoreError, match="10 bytes came"):
        cache.get("a", size=20, fetch=filled(10))
    assert names(tmp_path) == []
