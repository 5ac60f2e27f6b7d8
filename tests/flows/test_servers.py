"""Which Prefect server a command uses, and what it says where none answers."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from reelvec.flows import servers
from reelvec.flows.servers import ServerError, check_server, server_url
from tests.support.prefect_server import free_port
from tests.support.programs import ROOT


@pytest.fixture
def unasked(monkeypatch, tmp_path):
    """A fresh process of somebody who has no server: Prefect is not imported, nothing is set."""
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILES_PATH", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("profiles.toml", '[profiles.mine]\nPREFECT_API_URL = "http://127.0.0.1:1/api"\n'),
        (".env", "PREFECT_API_URL=http://127.0.0.1:1/api\n"),
        ("prefect.toml", '[api]\nurl = "http://127.0.0.1:1/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://127.0.0.1:1/api"\n'),
    ],
)
def test_prefect_is_asked_only_where_something_is_set(unasked, file, words):
    assert not servers.may_be_set()
    (unasked / file).write_text(words)
    assert servers.may_be_set()


def test_without_a_server_prefect_is_not_imported(unasked):
    assert server_url() is None
    assert "prefect" not in sys.modules


def test_other_projects_files_are_not_taken_for_settings(unasked):
    (unasked / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    (unasked / ".env").write_text("API_URL=http://127.0.0.1:1/api\n")
    assert server_url() is None


def test_the_environment_names_one(unasked, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert servers.may_be_set()


def test_the_one_that_is_named_is_used(unasked):
    """In a process of its own, as Prefect reads its settings once."""
    url = "http://127.0.0.1:1/api"
    done = subprocess.run(
        [sys.executable, "-c", "from reelvec.flows.servers import server_url; print(server_url())"],
        env=os.environ | {"PYTHONPATH": str(ROOT / ".editable"), "PREFECT_API_URL": url},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == [url]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/api", "http://me:secret@127.0.0.1:{port}/api", "nonsense"]
)
def test_a_server_that_does_not_answer_is_named_with_the_remedy(url):
    url = url.format(port=free_port())
    started = time.monotonic()
    with pytest.raises(ServerError, match=r"PREFECT_API_URL.*unset it") as error:
        check_server(url)
    assert time.monotonic() - started < 30  # five on a machine of one's own
    assert "secret" not in str(error.value)


class _Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("code", [200, 401, 404, 503])
def test_another_server_is_not_taken_for_prefects(code):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Other) as server:
        server.code = code
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ServerError, match="no Prefect server answers"):
                check_server(f"http://127.0.0.1:{server.server_port}/api")
        finally:
            server.shutdown()


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(servers, "_PATIENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServerError):
        check_server(f"http://127.0.0.1:{silent.getsockname()[1]}/api")


def test_a_server_that_goes_while_a_flow_runs_ends_the_run():
    """The main thread waits for a lock then, as in Prefect's futures."""
    program = """
import sys, threading
from reelvec.flows import servers
from reelvec.flows.console.stopping import Stopped, stopping_on_signals

with stopping_on_signals():
    with servers.ending_with_server(sys.argv[1]):
        threading.Event().wait(60)
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, f"http://me:secret@127.0.0.1:{free_port()}/api"],
        env=os.environ | {"PYTHONPATH": str(ROOT / ".editable")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "/api) is gone" in done.stderr and "run again" in done.stderr
    assert "secret" not in done.stderr
    assert time.monotonic() - started < 55
