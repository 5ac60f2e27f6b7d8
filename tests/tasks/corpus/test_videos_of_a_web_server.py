"""Videos behind links of a web server that makes trouble: rows and words, and nothing lost."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("aiohttp", reason="the extra http is not installed")

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.own.folder import check_folder
from reelvec.storage.errors import CorpusError, RefusedError
from reelvec.storage.places import source_failures, source_kinds, sources
from reelvec.storage.places.source_contract import mark_of
from reelvec.storage.records import Video
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import plan_ingest, read_corpus
from reelvec.tasks.corpus.ledger import summary
from reelvec.tasks.corpus.listed_columns import ListedColumns
from reelvec.tasks.runs.preflight import checked_config
from tests.support.engine_free import run_ingest

TROUBLES = {
    "forbidden": ("permission", {"status": 403}),
    "sign-in": ("permission", {"status": 401}),
    "missing": ("missing", {"status": 404}),
    "broken": ("unreachable", {"status": 500}),
    "lost": ("unreachable", {"lost": True}),
    "endless": ("unreachable", {"Content-Length": None}),
    "loop": ("unreachable", {"status": 302, "Location": "/loop.mp4"}),
    "page": ("unreachable", {"Content-Type": "text/html; charset=utf-8"}),
    "nameless": ("unreachable", {"ETag": None}),
    "undated": ("unreachable", {"ETag": None, "Last-Modified": "Mon, the day after"}),
    "distant": ("unreachable", {"ETag": None, "Last-Modified": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "huge": ("unreachable", {"Content-Length": "9" * 30}),
    "odd": ("unreachable", {"Content-Length": "many"}),
}
"""By name: the reason of the row, and what is wrong with the answers to HEAD."""


class Web:
    """Files by name with their bytes, how each answers, and what was asked for."""

    def __init__(self):
        self.files, self.wrong, self.asked = {}, {}, []
        self.links = []
        self.address = ""
        self.left = threading.Event()

    def times(self, method, name):
        return self.asked.count((method, f"/{name}"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def answer(self):
        name = self.path[1:]
        self.web.asked.append((self.command, self.path))
        wrong = dict(self.web.wrong.get((self.command, name), {}))
        if callable(wrong.get("calls")):
            wrong |= wrong["calls"]() or {}
        if wrong.get("lost"):
            self.close_connection = True
            return
        if wrong.get("stalls"):
            self.web.left.wait(20)
        if name == "" or name.endswith("/"):
            links = [*self.web.files, *self.web.links] if not name else []
            body = "".join(f'<a href="{link}">x</a>' for link in links).encode()
            kind = "text/html"
        else:
            files = {unquote(link): body for link, body in self.web.files.items()}
            body, kind = files.get(unquote(name), b""), "application/octet-stream"
        headers = {"Content-Length": str(len(body)), "Content-Type": kind, "ETag": f'"{len(body)}"'}
        if "identity" not in self.headers.get("Accept-Encoding", ""):
            headers |= {"Content-Length": None, "Content-Encoding": "gzip"}
        headers |= {k: v for k, v in wrong.items() if k[0].isupper()}
        self.send_response_only(wrong.get("status", 200))
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD = answer

    def log_message(self, *_):
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def served(web):
    with Server(("127.0.0.1", 0), type("Of", (Handler,), {"web": web})) as server:
        named = {"poll_interval": 0.02}
        threading.Thread(target=server.serve_forever, kwargs=named, daemon=True).start()
        web.address = f"http://127.0.0.1:{server.server_port}"
        yield
        web.left.set()
        server.shutdown()


@pytest.fixture
def web(monkeypatch, tmp_path):
    """A server nobody has asked yet; nobody waits between two requests."""
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source_failures, "_PAUSE", 0.0)
    sources._kept.cache_clear()
    found = Web()
    with served(found):
        yield found


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The bytes of a small one."""
    drawn = SyntheticCorpus(videos=1, seconds=1.0, fps=4, size=32, codecs=("h264-mp4",))
    folder = tmp_path_factory.mktemp("drawn")
    (video,) = open_corpus(drawn, store_dir=folder).read().videos
    with open(video.path, "rb") as file:
        return file.read()


def config_of(web, store, **corpus):
    given = {"corpus": {"kind": "folder", "videos": web.address, **corpus}, "store": str(store)}
    return PipelineConfig.model_validate(given)


def listing_of(web, **corpus):
    config = config_of(web, "/nowhere", **corpus)
    return open_corpus(config.corpus, store_dir="/nowhere").read()


def rows(config):
    return {video.video_id: video for video in read_corpus(Session(config)).videos}


def test_what_is_no_video_by_its_name_is_never_asked_for(web):
    web.files = {"b.mp4": b"b", "notes.txt": b"", ".c.mp4": b"c", "a.mp4?sig=1": b""}
    web.links = ["./a.mp4", "./", "?C=N;O=D", ".git/", "../x.mp4"]
    web.files["a.mp4"] = b"aa"
    web.wrong = {("HEAD", "notes.txt"): {"status": 500}, ("GET", ".git/"): {"status": 403}}
    assert [video.video_id for video in listing_of(web).videos] == ["a", "b"]
    assert sorted(web.asked) == [("GET", "/"), ("HEAD", "/a.mp4"), ("HEAD", "/b.mp4")]


NAMES = {
    "my%20clip.mp4": "my clip",
    "caf%c3%a9.mp4": "café",
    "100%25.mp4": "100%",
    "what%3F%23.mp4": "what?#",
    "a%2520b.mp4": "a%20b",
    "a+b.mp4": "a+b",
    "new%20clips/one.mp4": "new clips/one",
}
"""What a page links to, and what the file is called where it lies."""


def test_a_file_is_called_as_in_its_folder(web, clip, tmp_path):
    web.files = dict.fromkeys(NAMES, clip)
    web.links = ["%2Ehidden.mp4", "new%20clips/"]
    captions = tmp_path / "captions.csv"
    by_id, by_path = list(NAMES.values())[:4], list(NAMES.values())[4:]
    listed = [f'"{name}",,of {name}' for name in by_id] + [f",{n}.mp4,of {n}" for n in by_path]
    captions.write_text("\n".join(["video_id,path,caption", *listed]))
    listing = listing_of(web, captions=str(captions))
    assert {video.video_id for video in listing.videos} == set(NAMES.values())
    assert {c.video_id: c.text for c in listing.captions} == {n: f"of {n}" for n in NAMES.values()}
    config = config_of(web, tmp_path / "store", split_by_folder=True)
    run_ingest(config)
    found = rows(config)
    assert found.keys() == set(NAMES.values())
    assert {n: v.message for n, v in found.items() if v.status != "ok"} == {}, "each is fetched"
    assert found["new clips/one"].split == "new clips"
    assert found["my clip"].path == f"{web.address}/my%20clip.mp4"


def test_what_no_file_can_be_called_keeps_its_whole_address(web):
    odd = ["x%2Fy.mp4", "b%FF.mp4", "x%00.mp4"]
    web.files = dict.fromkeys([*odd, "a.mp4"], b"a")
    videos = {video.video_id: video for video in listing_of(web).videos}
    assert videos.keys() == {"a", *(f"{web.address}/{name[:-4]}" for name in odd)}
    assert {video.path for video in videos.values()} == {f"{web.address}/{n}" for n in web.files}
    assert all(video.bytes == 1 for video in videos.values()), "asked about as they are linked"


def test_a_caption_may_give_the_whole_address(web, tmp_path):
    web.files = {"my%20clip.mp4": b"a", "caf%C3%A9.mp4": b"b"}
    captions = tmp_path / "captions.csv"
    lines = ["path,caption", f"{web.address}/my%20clip.mp4,one", f"{web.address}/café.mp4,two"]
    captions.write_text("\n".join(lines))
    listing = listing_of(web, captions=str(captions))
    assert {c.video_id: c.text for c in listing.captions} == {"my clip": "one", "café": "two"}


def test_one_that_cannot_be_told_of_is_a_row_and_changes_none_in_force(web, clip, tmp_path):
    web.files = {f"{name}.mp4": clip for name in ("a", *TROUBLES)}
    troubles = {("HEAD", f"{name}.mp4"): wrong for name, (_, wrong) in TROUBLES.items()}
    web.wrong = dict(troubles)
    config = config_of(web, tmp_path / "store")
    check_folder(web.address)
    plan, snapshot = run_ingest(config)
    found = rows(config)
    assert {name: found[name].reason for name in TROUBLES} == {
        k: v for k, (v, _) in TROUBLES.items()
    }
    assert found["a"].status == "ok"
    assert all(f"{web.address}/{name}.mp4" in found[name].message for name in TROUBLES)
    failed = {row.video_id: row for row in summary(snapshot, frames=None).failures}
    assert failed.keys() == TROUBLES.keys() and "403" in failed["forbidden"].message
    told = len(TROUBLES) - 1  # what is missing is known to be so
    assert f"did not tell of {told} of its files" in " ".join(plan.notes)

    web.wrong["HEAD", "broken.mp4"] = {"status": 403}
    plan, _ = run_ingest(config)
    assert (plan.changed, rows(config)["broken"].reason) == (["broken"], "permission")

    web.wrong = {}
    plan, snapshot = run_ingest(config)
    assert sorted(plan.changed) == sorted(TROUBLES), "none is stuck"
    whole = rows(config)
    assert {video.status for video in whole.values()} == {"ok"} and plan.notes == ()

    web.wrong = dict(troubles)
    for session in (Session(config), Session(config, rehash=True)):
        plan = plan_ingest(session)
        assert plan.gone == ["missing"] and plan.removed == []
        assert sorted({*plan.changed} & TROUBLES.keys()) == ["missing"], "the others are as before"
    run_ingest(config)
    after = rows(config)
    assert (after.pop("missing").reason, after) == (
        "missing",
        {name: video for name, video in whole.items() if name != "missing"},
    )


def test_one_that_is_too_slow_is_a_row_until_it_comes(web, monkeypatch):
    web.files = {"a.mp4": b"a"}
    web.wrong = {("HEAD", "a.mp4"): {"stalls": True}}
    with monkeypatch.context() as patch:
        patch.setattr(source_kinds, "_REQUEST_SECONDS", 0.1)
        (video,) = listing_of(web).videos
    assert (video.reason, video.bytes) == ("timeout", 0)
    assert web.times("HEAD", "a.mp4") == 1, "who waited so long does not wait again"
    web.wrong = {}
    (video,) = listing_of(web).videos
    assert (video.reason, video.bytes) == ("", 1)


def once(wrong):
    """Wrong the first time."""
    due = [wrong]
    return {"calls": lambda: due.pop() if due else {}}


def test_what_fails_once_is_asked_again(web):
    web.files = {"a.mp4": b"a", "b.mp4": b"b", "c.csv": b"path,caption\na.mp4,one\n"}
    web.wrong = {
        ("GET", ""): once({"status": 500}),
        ("HEAD", "a.mp4"): once({"lost": True}),
        ("HEAD", "b.mp4"): once({"status": 404}),  # though the page has just named it
        ("HEAD", "c.csv"): once({"status": 503}),
        ("GET", "c.csv"): once({"status": 500}),
    }
    listing = listing_of(web, captions=f"{web.address}/c.csv")
    assert [(video.video_id, video.reason) for video in listing.videos] == [("a", ""), ("b", "")]
    assert [caption.text for caption in listing.captions] == ["one"]
    assert web.times("HEAD", "b.mp4") == 2 and listing.notes == ()


def test_a_page_that_stays_broken_is_told_after_it_was_asked_for_again(web):
    web.files = {"a.mp4": b"a"}
    web.wrong = {("GET", ""): {"status": 503}}
    with pytest.raises(CorpusError, match=rf"cannot list {web.address}: .*503.*check the address"):
        listing_of(web)
    assert web.times("GET", "") == 3


def test_some_are_asked_about_at_once_and_no_more(web):
    many, state = source_kinds._AT_ONCE, {"now": 0, "peak": 0}
    meeting, lock = threading.Barrier(many), threading.Lock()

    def wait():
        with lock:
            state["now"] += 1
            state["peak"] = max(state["peak"], state["now"])
        try:
            meeting.wait(5)
        except threading.BrokenBarrierError:
            return {"status": 500}
        finally:
            with lock:
                state["now"] -= 1

    web.files = {f"{number:02}.mp4": b"x" for number in range(2 * many)}
    web.wrong = {("HEAD", name): {"calls": wait} for name in web.files}
    found = list(source_kinds.objects_of(web.address).below(web.address, wanted=lambda _: True))
    assert [one.uri for one in found] == [f"{web.address}/{name}" for name in web.files]
    assert all(one.fault is None for one in found) and state["peak"] == many


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"status": 500}, "500.*check the address, the network"),
        ({"status": 403}, "403.*the credentials"),
        ({"status": 404}, "it is not there; was it removed"),
        ({"Content-Type": "text/html"}, "answers with a page"),
    ],
    ids=["broken", "forbidden", "missing", "a page"],
)
def test_captions_and_weights_that_are_not_given_are_told_in_words(web, wrong, words):
    web.files = {"a.mp4": b"a", "c.csv": b"path,caption\na.mp4,one\n", "w.pt": b"w"}
    web.wrong = {("HEAD", "c.csv"): wrong, ("HEAD", "w.pt"): wrong}
    with pytest.raises(CorpusError, match=f"captions: cannot read {web.address}/c.csv: .*{words}"):
        listing_of(web, captions=f"{web.address}/c.csv")
    model = {"weights": f"{web.address}/w.pt"}
    given = config_of(web, "/nowhere").model_dump() | {"model": model, "train": {"epochs": 0}}
    with pytest.raises(ConfigError, match=f"weights: cannot read {web.address}/w.pt: .*{words}"):
        checked_config(PipelineConfig.model_validate(given))
    assert web.times("HEAD", "w.pt") == (1 if wrong.get("status") == 404 else 3)


def test_of_other_schemes_too_what_is_listed_without_a_size_is_asked_for_alone(monkeypatch):
    class Files:
        def find(self, *_, **__):
            return {
                "b/a.mp4": {"size": None},
                "b/notes.txt": {"size": None},
                "b/c.mp4": {"size": 3, "etag": "c"},
            }

        def info(self, path):
            raise OSError(f"Forbidden: {path}")

    monkeypatch.setattr(source_failures, "_PAUSE", 0.0)
    monkeypatch.setattr(source_kinds, "_file_system", lambda *_: Files())
    wanted = lambda uri: uri.endswith(".mp4")  # noqa: E731
    c, a = source_kinds._Others("gs").below("gs://b", wanted=wanted)
    assert (c.uri, c.mark.bytes, c.fault) == ("gs://b/c.mp4", 3, None)
    assert a.uri == "gs://b/a.mp4" and isinstance(a.fault, RefusedError)


def test_what_is_said_of_no_file_holds_for_the_file_that_was_there_alone():
    where = ["http://h/a.mp4", "http://h/moved.mp4", "http://h/never.mp4", "http://h/gone.mp4"]
    reasons = ["unreachable", "permission", "timeout", "missing"]
    listed = [Video(name, name, reason=why) for name, why in zip(where, reasons, strict=True)]
    before = [where[0], "/videos/moved.mp4", where[2], where[3]]
    rows = pa.table({"path": before, "bytes": [1, 1, 0, 1], "reason": ["", "", "missing", ""]})
    columns = ListedColumns.of(listed)
    assert columns.still_holds(rows, np.arange(4)).tolist() == [True, False, False, False]


def test_an_etag_that_is_no_text_is_a_mark_too():
    one, other = (mark_of(size=1, etag=f'"{tag}"') for tag in ("\udcff", "\udcfe"))
    assert one != other and one.inode and other.inode
