"""Videos, captions and weights where they are: on a server, behind a proxy that makes trouble."""

import hashlib
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")


from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.own.folder import check_folder
from reelvec.storage.errors import CorpusError
from reelvec.storage.places import object_client, source_kinds, sources
from reelvec.storage.records import Video
from reelvec.storage.weights.checkpoints import WEIGHTS, save_checkpoint
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.decoding.files import probe_files
from reelvec.tasks.runs.preflight import checked_config
from tests.support import s3_server
from tests.support.engine_free import run_all, run_extract, run_ingest
from tests.support.s3_proxy import CUT, LOSE, STALL, Trouble, s3_proxy
from tests.tasks.training.builders import MAX_WORDS, SIZE, small_model


@pytest.fixture(scope="module", params=["moto", "ceph"])
def environment(request, tmp_path_factory):
    """Of moto's server, and of Ceph's gateway where it is installed."""
    missing = s3_server.real_server_missing()
    if request.param == "ceph" and missing:
        pytest.skip(missing)
    with s3_server.any_server(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def server(environment):
    return environment["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Five small clips of one second, with captions."""
    folder = tmp_path_factory.mktemp("videos")
    drawn = SyntheticCorpus(videos=5, seconds=1.0, fps=4, size=32, codecs=("h264-mp4",))
    listing = open_corpus(drawn, store_dir=tmp_path_factory.mktemp("drawn")).read()
    for letter, video in zip("abcde", listing.videos, strict=True):
        shutil.copy(video.path, folder / f"{letter}.mp4")
    rows = "".join(f"{letter}.mp4,clip {letter}\n" for letter in "abcde")
    (folder / "captions.csv").write_text(f"path,caption\n{rows}")
    return folder


@pytest.fixture
def bucket(environment, clips, monkeypatch, tmp_path):
    """An address with the clips below it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    prefix = tmp_path.name
    for file in clips.iterdir():
        put(f"{prefix}/{file.name}", file.read_bytes())
    return f"s3://{s3_server.BUCKET}/{prefix}"


def put(key, data):
    s3_server.client().put_object(Bucket=s3_server.BUCKET, Key=key, Body=data)


def config_of(videos, store):
    return PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": {"kind": "folder", "videos": videos, "captions": f"{videos}/captions.csv"},
            "extract": {"size": 32, "sampling": {"rate": 2.0}, "max_failed_fraction": 1.0},
        }
    )


def rows(config):
    return {video.video_id: video for video in read_corpus(Session(config)).videos}


def test_objects_are_the_videos_they_are_elsewhere_and_change_as_files_do(
    bucket, clips, server, tmp_path, monkeypatch
):
    local, remote = (config_of(str(v), tmp_path / "store") for v in (clips, bucket))
    run_ingest(local)
    run_extract(local)
    run_ingest(remote)
    as_files, first = rows(local), rows(remote)
    assert first["a"].path == f"{bucket}/a.mp4" and not list(tmp_path.glob("s3*"))
    for name, video in first.items():
        assert video.content_hash == as_files[name].content_hash, "known by its bytes"
        assert (video.codec, video.frames_counted) == ("h264", 4)
    plan, _ = run_extract(remote)
    assert plan.shards == [], "the same bytes are decoded once, wherever they lie"

    prefix = bucket.removeprefix(f"s3://{s3_server.BUCKET}/")
    put(f"{prefix}/a.mp4", (clips / "a.mp4").read_bytes())  # again: its ETag stays
    upload_in_pieces(f"{prefix}/b.mp4", (clips / "b.mp4").read_bytes())  # again, a new ETag
    put(f"{prefix}/c.mp4", (clips / "c.mp4").read_bytes() + bytes(8))
    s3_server.client().delete_object(Bucket=s3_server.BUCKET, Key=f"{prefix}/d.mp4")
    put(f"{prefix}/captions.csv", b"path,caption\nb.mp4,clip b\nf.mp4,of none\n")
    seen = []
    with s3_proxy(server, watcher(seen)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        plan, _ = run_ingest(remote)
        assert (plan.changed, plan.removed) == (["b", "c"], ["d"])
        got = {path.rpartition("/")[2].partition("?")[0] for how, path in seen if how == "GET"}
        assert got - {"captions.csv", s3_server.BUCKET} == {"b.mp4", "c.mp4"}
        found = rows(remote)
        assert found["b"].content_hash == first["b"].content_hash, "read again, and the same"
        assert found["c"].content_hash != first["c"].content_hash
        assert (found["f"].status, found["f"].reason) == ("quarantined", "missing")
        plan, _ = run_extract(remote)
        assert plan.clips == 1
        seen.clear()
        plan, _ = run_ingest(remote)
        assert plan.shards == [] and not any(path.endswith(".mp4") for _, path in seen)


def upload_in_pieces(key, data):
    client, named = s3_server.client(), {"Bucket": s3_server.BUCKET, "Key": key}
    upload = client.create_multipart_upload(**named)["UploadId"]
    piece = client.upload_part(**named, UploadId=upload, PartNumber=1, Body=data)
    pieces = {"Parts": [{"PartNumber": 1, "ETag": piece["ETag"]}]}
    client.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=pieces)


def watcher(seen):
    def when(method, path):
        seen.append((method, path))
        return False

    return Trouble(when, LOSE)


def got(name):
    return lambda method, path: method == "GET" and path.endswith(name)


def test_what_breaks_once_is_asked_for_again_and_what_stays_broken_is_a_row(
    bucket, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "PIECE", 1000)
    monkeypatch.setitem(object_client._CONFIG, "retries", {"total_max_attempts": 2})
    passing = ("500 InternalError", CUT, LOSE, "503 SlowDown")
    troubles = [Trouble(got("a.mp4"), what, times=1) for what in passing]
    troubles += [Trouble(got("b.mp4"), "403 AccessDenied"), Trouble(got("c.mp4"), "503 SlowDown")]
    troubles += [Trouble(got("d.mp4"), STALL), Trouble(got("e.mp4"), "404 NoSuchKey")]
    config = config_of(bucket, tmp_path / "store")
    limits = config.extract.model_copy(
        update={"deadline_seconds": 0.5, "deadline_seconds_per_gib": 0}
    )
    config = config.model_copy(update={"extract": limits})
    with s3_proxy(server, *troubles) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        patient = [v for v in listed(bucket) if v.video_id in "abce"]
        found = {v.video_id: v for v in probe_files(patient, limits=config_of(bucket, "").extract)}
        late = [v for v in listed(bucket) if v.video_id == "d"]
        found |= {v.video_id: v for v in probe_files(late, limits=limits)}
    assert [t.met for t in troubles[:4]] == [1, 1, 1, 1]
    assert found["a"].status == "ok" and found["a"].content_hash
    reasons = {name: found[name].reason for name in "bcde"}
    assert reasons == {
        "b": "permission",
        "c": "unreachable",
        "d": "timeout",
        "e": "missing",
    }
    for name in "bcde":
        assert f"{bucket}/{name}.mp4" in found[name].message
        assert found[name].bytes == 0, "without a mark the next run asks for it again"
    assert "s3:GetObject and s3:ListBucket" in found["b"].message
    copies = {path.name[33:] for path in (tmp_path / "cache/files").iterdir()}
    assert copies == {"a.mp4", "captions.csv"}, "nothing half fetched is left"


def test_a_server_that_is_far_away_changes_nothing_but_the_time(
    bucket, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "PIECE", 1000)
    rows_of, asked = [], []
    for latency in (0.0, 0.02):
        monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / f"cache-{latency}"))
        seen = []
        with s3_proxy(server, watcher(seen), latency=latency) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            limits = config_of(bucket, "").extract
            rows_of.append(list(probe_files(listed(bucket), limits=limits)))
        asked.append(sorted((method, path.partition("?")[0]) for method, path in seen))
    assert [video.video_id for video in rows_of[0]] == list("abcde")
    assert rows_of[0] == rows_of[1] and {video.status for video in rows_of[0]} == {"ok"}
    assert asked[0] == asked[1], "none is asked for again because it is slow"


def listed(bucket):
    return open_corpus(config_of(bucket, "/nowhere").corpus, store_dir="/nowhere").read().videos


def test_an_object_that_changes_on_its_way_is_no_mixture(bucket, clips, server, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 1000)
    (video,) = [v for v in listed(bucket) if v.video_id == "a"]
    changed = []

    def change(method, path):
        if method == "GET" and path.endswith("a.mp4") and not changed:
            changed.append(path)
            put(path.split("/", 2)[2], (clips / "b.mp4").read_bytes())
        return False

    with s3_proxy(server, Trouble(change, LOSE)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        (row,) = probe_files([video], limits=config_of(bucket, "").extract)
    assert changed and row.reason == "changed"


@pytest.mark.parametrize(
    ("where", "trouble", "words"),
    [
        ("s3://no-such-bucket-here/x", "", r"NoSuchBucket.* make it .* or correct the URI"),
        (f"s3://{s3_server.BUCKET}/nothing-here", "", "holds no file with a video's name"),
        (f"s3://{s3_server.BUCKET}/x", "403 InvalidAccessKeyId", "renew or correct them"),
        (f"s3://{s3_server.BUCKET}/x", "403 AccessDenied", "s3:GetObject and s3:ListBucket on"),
    ],
    ids=["no bucket", "empty prefix", "unknown key", "no rights"],
)
def test_a_wrong_address_is_told_before_any_work(
    bucket, server, monkeypatch, where, trouble, words
):
    refuse = [Trouble(lambda method, path: True, trouble)] if trouble else []
    with s3_proxy(server, *refuse) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(CorpusError, match=words) as refused:
            check_folder(where)
    assert where in str(refused.value)


def test_captions_by_address_are_called_by_it(bucket, clips, tmp_path):
    prefix = bucket.removeprefix(f"s3://{s3_server.BUCKET}/")
    put(f"{prefix}/captions.csv", b"path,caption\na.mp4,one\nb.mp4,\n")
    listing = open_corpus(config_of(bucket, "/nowhere").corpus, store_dir="/nowhere").read()
    assert [caption.text for caption in listing.captions] == ["one"]
    assert f"{bucket}/captions.csv, line 3" in listing.problems[0]
    assert str(tmp_path) not in listing.problems[0]
    put(f"{prefix}/captions.csv", b"nothing\n1\n")
    with pytest.raises(CorpusError, match=f"{bucket}/captions.csv.*no column names the video"):
        listed(bucket)


def test_weights_by_address_give_the_rows_that_a_file_of_them_gives(bucket, tmp_path):
    folder, prefix = tmp_path / "files", bucket.removeprefix(f"s3://{s3_server.BUCKET}/")
    folder.mkdir()
    clip = {WEIGHTS + key: x for key, x in small_model().clip.state_dict().items()}
    save_checkpoint(folder / "clip.safetensors", tensors=clip, metadata={})
    put(f"{prefix}/clip.safetensors", (folder / "clip.safetensors").read_bytes())
    tables = []
    for weights in (str(folder), bucket):
        given = config_of(bucket, tmp_path / f"store-{len(tables)}").model_dump()
        given["model"] = {"weights": f"{weights}/clip.safetensors", "max_words": MAX_WORDS}
        given["extract"] |= {"size": SIZE}
        config = checked_config(PipelineConfig.model_validate(given | {"train": {"epochs": 0}}))
        _, snapshot = run_all(config)
        tables.append(snapshot.checksum)
        shutil.rmtree(folder, ignore_errors=True)
    assert tables[0] == tables[1]
    given["model"]["weights"] = f"{bucket}/no.pt"
    with pytest.raises(ConfigError, match=f"weights: cannot read {bucket}/no.pt: it is not there"):
        checked_config(PipelineConfig.model_validate(given))


def test_a_web_server_without_etags_or_ranges_serves_too(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "PIECE", 1000)
    handler = partial(Quiet, directory=str(clips))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        videos = listed(address)
        assert [v.path for v in videos] == [f"{address}/{name}.mp4" for name in "abcde"]
        assert videos[0].mark.mtime_ns and not videos[0].mark.inode
        path = sources.local_file(f"{address}/a.mp4")
        web.shutdown()
    assert digest(path) == digest(clips / "a.mp4")


def test_a_web_server_that_does_not_list_all_is_no_smaller_corpus(clips, tmp_path):
    class Shut(Quiet):
        def list_directory(self, path):
            return self.send_error(500) if "inner" in path else super().list_directory(path)

    folder = shutil.copytree(clips, tmp_path / "web")
    (folder / "inner").mkdir()
    shutil.copy(clips / "a.mp4", folder / "inner/f.mp4")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        assert len(listed(address)) == 6
        web.RequestHandlerClass = partial(Shut, directory=str(folder))
        with pytest.raises(CorpusError, match=f"cannot list {address}/inner"):
            listed(address)
        web.shutdown()
    with pytest.raises(CorpusError, match=f"cannot list {address}: .*onnect"):
        listed(address)


class Answered(Exception):
    """As aiohttp's and Azure's errors have it."""

    def __init__(self, **named):
        super().__init__("<Error>" + "x" * 1000)
        vars(self).update(named)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Answered(status=401), "permission"),
        (Answered(status_code=403), "permission"),
        (OSError("Forbidden: https://storage.googleapis.com/b/o"), "permission"),
        (PermissionError("no"), "permission"),
        (FileNotFoundError("no"), "missing"),
        (Answered(status=500), "unreachable"),
    ],
    ids=["aiohttp", "Azure", "gcsfs", "s3fs", "nothing there", "broken"],
)
def test_a_refusal_has_its_reason_whatever_library_says_it(error, reason, monkeypatch, tmp_path):
    class Files:
        async_impl = False

        def cat_file(self, *_, **__):
            raise error

        info = cat_file

    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source_kinds._Others, "tries", 1)
    monkeypatch.setattr(source_kinds, "_file_system", lambda *_: Files())
    monkeypatch.setattr(sources, "objects_of", lambda _: source_kinds._Others("gs"))
    video = Video("a", "gs://bucket/a.mp4", bytes=10, inode=1)
    (row,) = probe_files([video], limits=PipelineConfig().extract)
    assert row.reason == reason and len(row.message) < 500


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_disk_that_is_full_is_no_fault_of_a_video(bucket, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "file"))
    video = Video("a", f"{bucket}/a.mp4", bytes=10, inode=1)
    with pytest.raises(OSError, match="file"):
        list(probe_files([video], limits=config_of(bucket, "").extract))
