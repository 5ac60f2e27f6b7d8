"""Ranges straight from a connection: the bytes that s3fs gives, whatever happens on the way."""

from __future__ import annotations

import random
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, RefusedError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.places import object_client, object_ranges
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.places.object import ObjectRoot
from reelvec.storage.places.part_cache import CacheOptions
from reelvec.storage.records import Outcome
from reelvec.tasks.training.data import ClipLoader
from tests.storage.places.contracts import read_into
from tests.support import s3_server
from tests.support.s3_proxy import CUT, DROP, LOSE, Trouble, s3_proxy

DATA = random.Random(0).randbytes(400_000)
REFUSALS = ["403 AccessDenied", "400 InvalidRequest", "200 <html>"]


@pytest.fixture
def root(
    server: str, asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ObjectRoot:
    """A store nobody used, with one object, `x`."""
    del asked  # a client made before notes nothing
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in s3_server.environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    object_client._client.cache_clear()
    root = ObjectRoot(f"s3://{s3_server.BUCKET}/{secrets.token_hex(4)}")
    root.put_new("x", DATA)
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What s3fs was asked for."""
    found: list[str] = []
    cat = object_client.s3fs.S3FileSystem.cat_file

    def noted(self, path, **named):
        found.append(path)
        return cat(self, path, **named)

    monkeypatch.setattr(object_client.s3fs.S3FileSystem, "cat_file", noted)
    return found


def signed(method: str, path: str) -> bool:
    return method == "GET" and "X-Amz-Signature" in path


def test_many_at_once_are_slices_of_the_object(
    root: ObjectRoot, server: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = [(start, 1 + start % 9_999) for start in range(0, len(DATA), 9_001)]
    with s3_proxy(server) as url, ThreadPoolExecutor(4) as threads:  # moto keeps no connection
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        found = threads.map(lambda s: read_into(root, "x", start=s[0], count=s[1]), spans)
        assert list(found) == [DATA[start : start + count] for start, count in spans]
        ranges = object_client.client().ranges
        (host,) = ranges._hosts.values()
        assert 1 <= len(host.idle) <= 4, "connections are used again"
        assert len(ranges._addresses) == 1, "an address is signed once"
        assert not asked
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    ranges = object_client.client().ranges
    with pytest.raises(MissingArtifactError):
        read_into(root, "y", start=0, count=1)
    assert read_into(root, "x", start=0, count=0) == b""
    assert not ranges._refused, "a missing object says nothing of the others"


@pytest.mark.parametrize("what", [CUT, LOSE, DROP, "503 SlowDown", "500 InternalError", *REFUSALS])
def test_what_breaks_once_comes_through_s3fs(
    root: ObjectRoot, server: str, asked: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    read_into(root, "x", start=0, count=10)
    trouble = Trouble(signed, what, 1)
    with s3_proxy(server, trouble) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for start in (7, 100_000, 399_990):
            count = min(50_000, len(DATA) - start)
            assert read_into(root, "x", start=start, count=50_000) == DATA[start : start + count]
    assert trouble.met == 1
    refused = bool(object_client.client().ranges._refused)
    assert refused == (what in REFUSALS), "others are not tried where one was never taken"
    assert len(asked) == (3 if refused else 1)


def test_where_all_breaks_it_is_told_and_an_old_address_is_signed_again(
    root: ObjectRoot, server: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_client, "_CONFIG", object_client._CONFIG | {"retries": {}})
    monkeypatch.setattr(object_client, "_ROUNDS", 1)
    trouble = Trouble(lambda method, path: method == "GET", "403 ExpiredToken", 0)
    with s3_proxy(server, trouble) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert read_into(root, "x", start=1, count=2) == DATA[1:3]
        trouble.times = 99
        with pytest.raises(RefusedError, match="does not accept these credentials"):
            read_into(root, "x", start=1, count=2)
        trouble.times = 0
        before = len(asked)
        assert read_into(root, "x", start=1, count=2) == DATA[1:3]
        ranges = object_client.client().ranges
        assert not ranges._refused and len(asked) == before, "what was taken before may be again"
        monkeypatch.setattr(object_ranges, "_USED_SECONDS", -1.0)
        (old,) = ranges._addresses.values()
        monkeypatch.setattr(object_ranges, "_IDLE_SECONDS", -1.0)
        assert read_into(root, "x", start=1, count=2) == DATA[1:3]
        assert old.signed_at < next(iter(ranges._addresses.values())).signed_at
        assert len(asked) == before


def test_through_a_proxy_s3fs_asks(
    root: ObjectRoot, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_ranges, "get_environ_proxies", lambda url: {"http": "x"})
    assert read_into(root, "x", start=1, count=2) == DATA[1:3]
    assert len(asked) == 1


@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_a_shuffle_through_failures_is_that_of_a_folder(
    root: ObjectRoot, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str
) -> None:
    trouble = [Trouble(signed, what, 3) for what in (CUT, "503 SlowDown", LOSE)]
    here, there = LocalRoot(tmp_path / "here"), ObjectRoot(root.uri, cache=small(tmp_path))
    found = []
    with s3_proxy(server, *trouble) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for place in (here, there):
            reader = FrameReader(store(place, payload))
            keys = list(reader.keys)
            random.Random(1).shuffle(keys)
            loader = ClipLoader(reader, max_frames=4, image_size=16)
            batches = [keys[start : start + 5] for start in range(0, len(keys), 5)]
            seen = SeenFrames(max_frames=4, selection="linspace", order="ordinary")
            found.append([b.frames.numpy().copy() for b in loader.batches(batches, seen=seen)])
            assert (reader._rows is not None) == (place is there)
            reader.close()
    assert [one.met for one in trouble] == [3, 3, 3]
    for local, far in zip(*found, strict=True):
        np.testing.assert_array_equal(local, far)


def small(tmp_path: Path) -> CacheOptions:
    """A cache of a few clips."""
    return CacheOptions(tmp_path / "few", 30_000, grace_seconds=0.0)


def store(root: LocalRoot | ObjectRoot, payload: str):
    """Two parts of twelve clips."""
    artifact = Artifact.open(root, kind="frames", identity={"payload": payload})
    receipts = []
    for first in (0, 12):
        keys = [f"{number:032x}" for number in range(first, first + 12)]
        with artifact.new_part(table="frames", shard=f"{first:05d}", suffix=".arrow") as part:
            with open_writer(part.path, format="arrow", payload=payload, size=16) as writer:
                for key in keys:
                    rng = np.random.default_rng(int(key, 16))
                    frames = rng.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
                    writer.add(ClipFrames(key, frames, np.arange(6) / 2, np.arange(6)))
            receipts.append(part.commit(rows=12, outcomes=[Outcome(key) for key in keys]))
    return artifact.publish(add=receipts)
