"""What is told to a Prefect server, and that telling it never harms the work."""

import contextlib
import http.server
import json
import socket
import threading
import time

import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from reelvec.flows import events, stages
from reelvec.flows.alone import run_alone
from reelvec.flows.events import Event, announce
from reelvec.tasks.artifacts import Session
from tests.support.prefect_server import free_port


class _Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told, and answers as the server's `answer` says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path, json.loads(body)))
        self.server.answer(self)

    def do_GET(self):
        self.server.answer(self)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiver(answer):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        server.told, server.answer = [], answer
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with temporary_settings(
                {PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}
            ):
                yield server.told
        finally:
            server.shutdown()


def accepted(request):
    """As Prefect does, whose client first asks for the version, and for a token it needs not."""
    answers = {
        "/api/admin/version": (200, prefect.__version__),
        "/api/csrf-token": (422, {"detail": "CSRF protection is disabled."}),
        "/api/events": (200, None),
    }
    code, words = answers[request.path.partition("?")[0]]
    words = json.dumps(words).encode()
    request.send_response(code)
    request.send_header("Content-Length", str(len(words)))
    request.end_headers()
    request.wfile.write(words)


def refused(request):
    request.send_response(503)
    request.send_header("Content-Length", "0")
    request.end_headers()


def in_drops(request):
    """Each byte comes in time for a client that waits for one, the answer never."""
    with contextlib.suppress(OSError):
        while True:
            request.wfile.write(b"H")
            request.wfile.flush()
            time.sleep(0.05)


def tell(**payload):
    announce(Event.PROMOTED, identity="0123abcd", store="/srv/store", run="clips", payload=payload)


def test_an_event_names_what_came_about_where_and_in_which_run(capsys):
    with receiver(accepted) as told:
        tell(alias="current")
    ((path, (event,)),) = told
    assert path == "/api/events"
    assert event["event"] == "reelvec.embeddings.promoted"
    assert event["resource"] == {
        "prefect.resource.id": "reelvec.embeddings.0123abcd",
        "prefect.resource.name": "clips",
        "reelvec.store": "/srv/store",
        "reelvec.run": "clips",
    }
    assert event["payload"] == {
        "store": "/srv/store", "run": "clips", "identity": "0123abcd", "alias": "current",
    }  # fmt: skip
    assert event["related"] == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("event", Event)
def test_names_are_of_one_kind(event):
    ours, what, verb = event.split(".")
    assert ours == "reelvec" and what in {"corpus", "embeddings"} and verb


def test_without_a_server_nothing_is_told(monkeypatch, capsys):
    monkeypatch.setattr(events, "_tell", None)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        tell()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("answer", [refused, in_drops])
def test_a_server_that_does_not_take_it_costs_a_line_and_no_more(monkeypatch, capsys, answer):
    monkeypatch.setattr(events, "_PATIENCE_SECONDS", 1.0)
    started = time.monotonic()
    with receiver(answer):
        tell()
        assert time.monotonic() - started < 20  # one on a machine of one's own
    (line,) = capsys.readouterr().err.splitlines()
    assert "was not told of reelvec.embeddings.promoted" in line


def test_a_server_that_is_not_there(capsys):
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        tell()
    assert "was not told" in capsys.readouterr().err


def test_a_server_that_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(events, "_PATIENCE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            tell()
    assert "no answer within" in capsys.readouterr().err


def test_what_cannot_be_written_down_fails_no_run(capsys):
    with receiver(accepted) as told:
        tell(what=object())
    assert told == []
    assert "serialize" in capsys.readouterr().err


def test_a_run_announces_what_it_ingested_and_committed_once(real_store, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(stages, "announce", lambda event, **words: told.append((event, words)))
    config = real_store.config.model_copy(update={"store": str(tmp_path / "store")})
    for expected in ([Event.INGESTED, Event.QUARANTINED, Event.COMMITTED], [Event.QUARANTINED]):
        session = Session(config)
        run_alone(session, only=["ingest", "extract", "train", "embed"])
        assert [event for event, _ in told] == expected
        words = dict(told)
        assert words[Event.QUARANTINED]["payload"] == {"quarantined": 2, "videos": 10}
        assert words[Event.QUARANTINED]["identity"] == session.corpus.fingerprint
        if Event.INGESTED in words:
            payload = words[Event.INGESTED]["payload"]
            assert (payload["snapshot"], payload["new"], payload["removed"]) == (1, 10, 0)
            committed = words[Event.COMMITTED]
            assert (committed["run"], committed["store"]) == ("demo", session.root.uri)
            assert committed["identity"] in session.root.list("embeddings")
            assert committed["payload"]["snapshot"] == 1 and committed["payload"]["rows"] > 0
        told.clear()
    lenient = config.extract.model_copy(update={"warn_failed_fraction": 0.2})
    config = config.model_copy(update={"extract": lenient})
    run_alone(Session(config), only=["ingest", "extract"])
    assert told == []
