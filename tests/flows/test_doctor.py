"""`reelvec doctor` on the store: what it promises a run will find."""

from pathlib import Path

import pytest

from reelvec.flows.doctor import examine, examine_store
from reelvec.storage.errors import StoreError
from reelvec.storage.roots import open_root
from tests.support import s3_server


def store_row(store):
    (row,) = [row for row in examine(str(store)) if row["check"] == "store"]
    return row


def test_a_store_and_a_place_for_one_are_fine_and_left_as_they_were(tmp_path):
    open_root(tmp_path / "store").put_new("x", b"1")
    before = sorted(tmp_path.rglob("*"))
    for place in ("store", "not/yet/there", "."):
        assert store_row(tmp_path / place)["result"] in ("ok", "note")
    assert store_row(f"file://{tmp_path}/store")["found"].startswith(str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_no_store(tmp_path):
    file = tmp_path / "captions.csv"
    file.write_text("")
    for place in (file, file / "below"):
        row = store_row(place)
        assert row["result"] == "bad"
        assert "a file, not a folder" in row["found"] + row["remedy"]


def test_a_place_that_cannot_be_written_is_found_by_writing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    open_root(tmp_path).new_scratch()
    monkeypatch.setattr("reelvec.flows.doctor.tempfile.NamedTemporaryFile", refuse)
    row = store_row(tmp_path)
    assert row["result"] == "bad" and row["remedy"]
    assert str(tmp_path / ".scratch") in row["found"] and "Permission denied" in row["found"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_proc_takes_no_store():
    row = store_row("/proc/reelvec")
    assert row["result"] == "bad" and "cannot write in /proc" in row["found"]


@pytest.fixture(scope="module")
def s3_url():
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    with s3_server.s3_server() as url:
        yield url


@pytest.mark.parametrize(
    ("bucket", "versioned", "result", "reason"),
    [
        ("plain", False, "ok", ""),
        ("versions", True, "note", "the bucket is versioned"),
        ("unsafe-uploads", False, "note", "large files go in one put"),
        ("no-conditions", False, "bad", "this server ignores If-None-Match"),
        ("no-conditions-versions", True, "bad", "the bucket no-conditions-versions is versioned"),
        ("read-only", False, "bad", "s3:PutObject"),
    ],
)
def test_an_object_store_is_tried_as_the_first_write_tries_it(
    bucket, versioned, result, reason, s3_url, monkeypatch, tmp_path
):
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path))
    for name, value in s3_server.environment(s3_url).items():
        monkeypatch.setenv(name, value)
    s3_server.make_bucket(s3_url, bucket)
    client = s3_server.client()
    if versioned:
        enabled = {"Status": "Enabled"}
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    row = examine_store(f"s3://{bucket}/store")
    assert (row["result"], reason in row["remedy"]) == (result, True), row
    assert not {"Versions", "DeleteMarkers"} & set(client.list_object_versions(Bucket=bucket))
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    root = open_root(f"s3://{bucket}/store")
    if result == "bad":
        with pytest.raises(StoreError, match=reason):
            root.put_new("x", b"1")
    else:
        root.put_new("x", b"1")
