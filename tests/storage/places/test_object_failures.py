"""What a server refuses, loses or does not know ends in the right outcome and in words."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from reelvec.storage.errors import StoreError
from reelvec.storage.places import object as object_root
from reelvec.storage.places import object_client
from reelvec.storage.places.object import ObjectRoot
from reelvec.storage.places.object_failures import explained_remote
from tests.support import s3_server
from tests.support.s3_proxy import DROP, LOSE, STALL, Trouble, s3_proxy

PIECE = 5 << 20  # the least a server takes


@pytest.fixture
def uri(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store nobody used; who waits for an answer waits for a short time and asks twice."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in s3_server.environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    retries = {"retries": {"mode": "standard", "total_max_attempts": 2}}
    monkeypatch.setattr(object_client, "_CONFIG", object_client._CONFIG | retries)
    monkeypatch.setattr(object_client, "_ROUNDS", 1)
    monkeypatch.setattr(object_root, "_CHUNK", PIECE)
    object_client._client.cache_clear()
    return f"s3://{s3_server.BUCKET}/{secrets.token_hex(4)}/store"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    file.write_bytes(secrets.token_bytes(2 * PIECE + 7))
    return file


def puts(method: str, path: str) -> bool:
    return method == "PUT" and path.endswith("/x")


def completes(method: str, path: str) -> bool:
    return method == "POST" and "uploadId" in path


@pytest.mark.parametrize("times", [1, 99])
def test_a_put_whose_answers_are_lost_is_known_again(
    uri: str, server: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    trouble = Trouble(puts, LOSE, times)
    with s3_proxy(server, trouble) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ObjectRoot(uri).put_new("x", b"mine")
        assert trouble.met >= min(times, 2)  # the transport itself asks again, too
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with pytest.raises(FileExistsError):
        ObjectRoot(uri).put_new("x", b"another's")
    assert ObjectRoot(uri).read("x") == b"mine"


def test_an_upload_whose_completion_was_lost_is_known_again(
    uri: str, server: str, monkeypatch: pytest.MonkeyPatch, large: Path
) -> None:
    def completes_x(method: str, path: str) -> bool:
        return completes(method, path) and "/x?" in path

    lost = Trouble(completes_x, LOSE, 1)
    gone = Trouble(completes_x, "404 NoSuchUpload", 9)  # what AWS and Ceph then say
    with s3_proxy(server, lost, gone) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        ObjectRoot(uri).put_file("x", large)
        assert lost.met and gone.met
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with pytest.raises(FileExistsError):
        ObjectRoot(uri).put_file("x", large)
    assert ObjectRoot(uri).local_path("x").read_bytes() == large.read_bytes()


@pytest.mark.usefixtures("uri")
def test_where_uploads_are_unsafe_a_large_file_is_one_put_sent_whole_again(
    server: str, monkeypatch: pytest.MonkeyPatch, large: Path
) -> None:
    """Its stream stands at the end when the request breaks off."""
    s3_server.make_bucket(server, "unsafe-uploads")
    trouble = Trouble(puts, DROP, 1)
    with s3_proxy(server, trouble) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        root = ObjectRoot("s3://unsafe-uploads/store")
        root.put_file("x", large)
        assert trouble.met == 1
        other = large.with_name("other")
        other.write_bytes(bytes(2 * PIECE))
        with pytest.raises(FileExistsError):
            root.put_file("x", other)
        assert root.local_path("x").read_bytes() == large.read_bytes()
        monkeypatch.setattr(object_root, "_LARGEST_PUT", 2 * PIECE)
        with pytest.raises(StoreError, match="one put has at most 10485760 bytes"):
            root.put_file("y", large)
        assert root.list("") == ["x"]
        assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket="unsafe-uploads")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (DROP, ["cannot be reached", "AWS_ENDPOINT_URL", "run again"]),
        ("503 SlowDown", ["SlowDown", "overloaded", "fewer workers"]),
        ("403 AccessDenied", ["AccessDenied", "s3:PutObject", s3_server.BUCKET]),
        ("400 EntityTooLarge", ["4 bytes are more", "extract.shard_videos"]),
    ],
)
def test_refusals_are_told_and_write_nothing(
    uri: str, server: str, monkeypatch: pytest.MonkeyPatch, what: str, words: list[str]
) -> None:
    with s3_proxy(server, Trouble(puts, what)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError) as caught:
            ObjectRoot(uri).put_new("x", b"mine")
    for word in [f"cannot write {uri}/x: ", *words]:
        assert word in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert not ObjectRoot(uri).exists("x")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InternalError", ["the server itself failed", "its log"]),
        ("SignatureDoesNotMatch", ["does not accept these credentials"]),
        ("403", ["does not accept these credentials, or they lack the rights"]),
        ("RequestTimeTooSkewed", ["clock"]),
        ("MissingContentLength", ["no checksum behind"]),
        ("InsufficientStorage", ["4 bytes are needed", "reelvec gc"]),
        ("PermanentRedirect", ["another region", "AWS_DEFAULT_REGION"]),
        ("InvalidBucketName", ["correct the URI"]),
        ("IAmATeapot", ["run again when the cause is gone"]),
    ],
)
def test_codes_have_remedies(code: str, words: list[str]) -> None:
    answer = {"Error": {"Code": code, "Message": None}}
    with (
        pytest.raises(StoreError) as caught,
        explained_remote("write", uri="s3://bucket/x", need=4),
    ):
        raise ClientError(answer, "PutObject")
    for word in ["cannot write s3://bucket/x: ", code, *words]:
        assert word in str(caught.value)
    assert not str(caught.value).endswith("None")


def test_what_passes_is_asked_again(uri: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = [
        Trouble(
            lambda method, path, name=what[:3]: method == "PUT" and path.endswith(name), what, 1
        )
        for what in (DROP, "503 SlowDown", "500 InternalError")
    ]
    with s3_proxy(server, *troubles) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for trouble in troubles:
            ObjectRoot(uri).put_new(trouble.what[:3], b"mine")
            assert trouble.met == 1
            assert ObjectRoot(uri).read(trouble.what[:3]) == b"mine"


def test_a_server_that_stalls_or_speaks_no_s3_is_told(
    uri: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_client, "_CONFIG", object_client._CONFIG | {"read_timeout": 0.3})

    def lists(method: str, path: str) -> bool:
        return method == "GET" and "list-type" in path

    with s3_proxy(server, Trouble(lists, STALL)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match="asked several times"):
            ObjectRoot(uri).list("a")
    with (
        pytest.raises(StoreError, match="speaks no S3"),
        explained_remote("list", uri=uri),
    ):
        raise ResponseParserError("invalid XML received: <html>")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "foo"),
        ("AWS_PROFILE", "nobody"),
        ("AWS_DEFAULT_REGION", "no region"),
    ],
)
def test_wrong_settings_are_no_server_out_of_reach(
    uri: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="correct the settings"):
        ObjectRoot(uri).put_new("x", b"")


def test_a_bucket_that_cannot_be_is_no_server_out_of_reach(uri: str) -> None:
    with pytest.raises(StoreError, match=r"Bad_Bucket!.*correct the URI"):
        ObjectRoot("s3://Bad_Bucket!/x").list("")
