"""The store on an S3 server in another process (moto's), through the same verbs and contract."""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

from botocore.exceptions import ClientError

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import (
    FormatError,
    IntegrityError,
    MissingArtifactError,
    ReelvecError,
    StoreError,
)
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.places import object as object_root
from reelvec.storage.places.object import ObjectRoot
from reelvec.storage.places.object_client import client
from reelvec.storage.places.part_cache import CacheOptions
from reelvec.storage.roots import Root, open_root
from reelvec.storage.store_format import FORMAT, PLAIN
from reelvec.storage.upkeep import verify
from reelvec.storage.upkeep.verify import verify_artifact, verify_store
from reelvec.tasks.upkeep.forget import forget
from tests.storage.commits.contracts import ok, rows_in_force, write_part
from tests.storage.places.contracts import RootContract, read_into
from tests.support import s3_server
from tests.support.lived_in import GONE, found_in, lived_in

SERVERS = ["moto", "moto-https", "ceph", "ceph-https"]
on_every_server = pytest.mark.parametrize("server", SERVERS, indirect=True, scope="module")


@pytest.fixture(scope="module", params=["moto"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    missing = s3_server.real_server_missing()
    if request.param.startswith("ceph") and missing:
        pytest.skip(missing)
    with s3_server.any_server(request.param, tmp_path_factory.mktemp("server")) as environment:
        yield environment


@pytest.fixture
def uri(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store nobody used, with a cache nobody used."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    return f"s3://{s3_server.BUCKET}/{secrets.token_hex(4)}/store"


@on_every_server
class TestObjectRoot(RootContract):
    @pytest.fixture
    def root(self, uri: str) -> Root:
        return open_root(uri)

    def test_ranges_need_no_s3fs(self, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
        root.put_new("ä b+c~/x", b"0123456789" * 9_000)
        monkeypatch.setattr(client().files, "cat_file", None)
        assert read_into(root, "ä b+c~/x", start=11, count=60_000) == b"1234567890" * 6_000
        assert read_into(root, "ä b+c~/x", start=89_998, count=9) == b"89"


def test_the_server_itself_refuses_a_second_create(uri: str) -> None:
    """Ours would prove nothing against a server that does not."""
    client = s3_server.client()
    bucket, _, key = uri[5:].partition("/")
    client.put_object(Bucket=bucket, Key=key, Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=bucket, Key=key, Body=b"2", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    named = {"Bucket": bucket, "Key": key, "UploadId": upload}
    piece = client.upload_part(**named, PartNumber=1, Body=b"3")
    pieces = {"Parts": [{"PartNumber": 1, "ETag": piece["ETag"]}]}
    with pytest.raises(ClientError) as refused:
        client.complete_multipart_upload(**named, MultipartUpload=pieces, IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


@on_every_server
def test_large_files_are_created_once_too(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_root, "_CHUNK", 5 << 20)  # the least a server takes
    root = open_root(uri)
    data = os.urandom(11 << 20)
    file = tmp_path / "large"
    file.write_bytes(data)
    root.put_file("large", file)
    assert root.size("large") == len(data)
    assert root.local_path("large").read_bytes() == data
    file.write_bytes(bytes(len(data)))
    with pytest.raises(FileExistsError):
        root.put_file("large", file)
    assert root.read("large") == data


def test_a_server_that_ignores_conditions_is_refused(uri: str) -> None:
    s3_server.make_bucket(os.environ["AWS_ENDPOINT_URL"], "no-conditions")
    root = open_root("s3://no-conditions/store")
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        root.put_new("x", b"1")
    assert not root.exists("x")


def test_listings_of_more_than_a_page(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = open_root(uri)
    names = [f"{number:04d}" for number in range(2 * s3_server.PAGE + 3)]
    for name in names:
        root.put_new(f"a/{name}", b"")
    assert root.list("a") == names
    root.delete(*(f"a/{name}" for name in names))
    assert root.list("a") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, ["cannot be reached", "AWS_ENDPOINT_URL"]),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["AWS_ACCESS_KEY_ID"]),
    ],
)
def test_failures_name_uri_and_remedy(uri: str, monkeypatch, change, words) -> None:
    open_root(uri).put_new("before", b"kept")
    with monkeypatch.context() as patch:
        for name, value in change.items():
            patch.setenv(name, value) if value else patch.delenv(name)
        for verb in (lambda: open_root(uri).put_new("x", b"1"), lambda: ObjectRoot(uri).list("a")):
            with pytest.raises(StoreError) as caught:
                verb()
            assert uri in str(caught.value)
            for word in words:
                assert word in str(caught.value)
    assert open_root(uri).read("before") == b"kept"
    open_root(uri).put_new("x", b"1")


def test_a_missing_bucket_is_named(uri: str) -> None:
    with pytest.raises(StoreError, match="aws s3 mb s3://no-such-bucket"):
        open_root("s3://no-such-bucket/store").put_new("x", b"1")
    with pytest.raises(StoreError, match="names no bucket"):
        open_root("s3://")


def test_without_s3fs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("object", "object_client", "object_probe"):
        monkeypatch.delitem(sys.modules, f"reelvec.storage.places.{name}")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreError, match=r"pip install 'reelvec\[s3\]'"):
        open_root("s3://bucket/store")


def test_the_cache_keeps_to_its_limit_and_drops_what_was_used_longest_ago(
    uri: str, tmp_path: Path
) -> None:
    options = CacheOptions(tmp_path / "small", limit_bytes=3500, grace_seconds=0.0)
    root = ObjectRoot(uri, cache=options)
    for name in "abcd":
        root.put_new(name, name.encode() * 1000)
    copies = {name: root.local_path(name) for name in "abc"}
    assert root.local_path("a") == copies["a"]  # used again: b is the oldest now
    mapped = copies["b"].open("rb")
    copies["d"] = root.local_path("d")
    assert [name for name in "abcd" if copies[name].exists()] == ["a", "c", "d"]
    assert mapped.read() == b"b" * 1000  # an open file outlives its name
    assert root.local_path("b").read_bytes() == b"b" * 1000
    held = sum(path.stat().st_size for path in (tmp_path / "small" / "parts").iterdir())
    assert held <= 3500


@pytest.mark.parametrize("limit", ["0", "-1", "5GB", "1.5", "\u0661"])
def test_a_limit_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("REELVEC_CACHE_BYTES", limit)
    with pytest.raises(ReelvecError, match=f"REELVEC_CACHE_BYTES .{limit}"):
        open_root("s3://bucket")


def test_what_was_just_handed_out_stays_until_it_was_opened(uri: str, tmp_path: Path) -> None:
    options = CacheOptions(tmp_path / "small", limit_bytes=1000, grace_seconds=60.0)
    root = ObjectRoot(uri, cache=options)
    for name in "ab":
        root.put_new(name, name.encode() * 900)
    first, second = root.local_path("a"), root.local_path("b")
    assert first.exists() and second.exists()


def test_a_damaged_copy_is_fetched_again_and_a_damaged_object_is_told(uri: str) -> None:
    artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    receipt = write_part(artifact, ok("k"))
    snapshot = artifact.publish(add=[receipt])
    copy = snapshot.parts()[0].path
    data = copy.read_bytes()
    copy.write_bytes(bytes(len(data)))
    assert verify_artifact(artifact) == [], "it is the store that is verified, not the copy"
    assert copy.read_bytes() == bytes(len(data)), "which is left as it is"
    again = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    assert again.latest().parts()[0].path.read_bytes() == data
    assert verify_artifact(again) == []
    path = f"{artifact.folder}/{receipt.part}"
    again.root.delete(path)
    again.root.put_new(path, bytes(len(data)))
    third = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    with pytest.raises(IntegrityError, match="is damaged"):
        _ = third.latest().parts()[0].path
    assert [damage.path for damage in verify_artifact(third)] == [path]
    again.root.delete(path)
    with pytest.raises(MissingArtifactError):
        _ = third.latest().parts()[0].path


@on_every_server
def test_an_object_of_other_bytes_or_of_more_or_fewer_is_told(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_BLOCK", 100)
    artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    receipt = write_part(artifact, ok("k"))
    artifact.publish(add=[receipt])
    path = f"{artifact.folder}/{receipt.part}"
    data = artifact.root.read(path)
    assert len(data) > 200 and verify_artifact(artifact) == []
    for other in (b"", data[:-1], data[:200], data + b"x", bytes(len(data))):
        artifact.root.delete(path)
        artifact.root.put_new(path, other)
        (damage,) = verify_artifact(artifact)
        same = len(other) == len(data)
        what = "differs from" if same else f"has {len(other)} bytes, its receipt promises"
        assert (damage.path, damage.keys) == (path, ("k",)) and what in damage.what


def test_of_two_writers_one_publishes_first_and_the_other_rebases(uri: str) -> None:
    names = [f"w{number}" for number in range(4)]
    start = threading.Barrier(len(names))
    numbers: list[int] = []

    def write(name: str) -> None:
        artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
        receipt = write_part(artifact, ok(f"{name}-1", f"{name}-2", "shared"), shard=name)
        start.wait()
        numbers.append(artifact.publish(add=[receipt]).number)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [1, 2, 3, 4]
    artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    latest = artifact.latest()
    assert rows_in_force(latest) == ok(
        "shared", *(f"{name}-{number}" for name in names for number in (1, 2))
    )
    assert verify_artifact(artifact) == []


def test_orphans_are_adopted_and_no_listing_is_trusted(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    write_part(artifact, ok("lost"))
    again = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    again.publish(add=again.orphan_receipts())
    again.publish(add=[write_part(again, ok("more"), shard="1")])
    monkeypatch.setattr(ObjectRoot, "list", lambda self, prefix: [])
    blind = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    assert blind.latest().number == 2
    assert set(rows_in_force(blind.latest())) == {"lost", "more"}


def test_a_client_is_made_anew_after_a_fork(uri: str) -> None:
    open_root(uri).put_new("x", b"from the parent")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = open_root(uri).read("x").decode()
        except BaseException as error:
            found = repr(error)
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        assert json.load(stream) == "from the parent"
    os.waitpid(child, 0)


def test_a_store_there_says_its_format_too(uri: str) -> None:
    artifact = Artifact.open(open_root(uri), kind="corpus", identity={"a": 1})
    assert artifact.root.exists(layout.store_format(PLAIN))
    artifact.root.put_new(layout.store_format(FORMAT + 1), b"newer")
    with pytest.raises(FormatError, match=rf"{uri} is of format {FORMAT + 1}"):
        open_root(uri)


LEFT = f"{2:032x}"
"""Clip of a video that stays."""


def test_a_video_is_forgotten_there_and_in_the_copies_on_this_machine(
    uri: str, tmp_path: Path
) -> None:
    lived = lived_in(tmp_path, uri=uri, trained=False)
    before = FrameReader(lived.store.frames)
    killed = tmp_path / "cache" / "scratch" / f"{2**22 + 1}-{'0' * 16}.arrow"
    killed.parent.mkdir(exist_ok=True, parents=True)
    killed.write_text(GONE)
    assert before.frames(LEFT).any() and list((tmp_path / "cache" / "parts").iterdir())
    forget(uri, [GONE])
    assert found_in(lived) == []
    after = FrameReader(lived.store.session.latest(lived.store.session.frames))
    assert (after.frames(LEFT) == before.frames(LEFT)).all()
    assert verify_store(lived.root) == []
