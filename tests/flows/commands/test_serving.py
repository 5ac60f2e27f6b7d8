"""serve: what keeps the page from being served is said in words; how it is served, from outside.

tests/flows/page has the page itself, and a browser that looks at it.
"""

import os
import pty
import signal
import socket
import subprocess
import time

import httpx
import pytest

from tests.support.command_line import typed
from tests.support.programs import heeding_ctrl_c, python

DEMO = """
import sys
from reelvec.flows import cli, launch
launch.launch = launch.show = lambda *_, **__: None  # the store is there
sys.argv = ["reelvec", "demo", *sys.argv[1:]]
cli.main()
"""


@pytest.fixture
def words(monkeypatch, capsys, real_store):
    monkeypatch.delenv("REELVEC_PAGE_TOKEN", raising=False)

    def call(*words, store=real_store.store):
        return typed(monkeypatch, capsys, "serve", *words, "--store", store, "--no-open")

    return call


def test_beyond_loopback_it_refuses_without_a_token(words, monkeypatch):
    for host in ("0.0.0.0", "::", "10.0.0.1"):
        code, out, err = words("--host", host)
        assert (code, out) == (1, "") and "needs a token: set REELVEC_PAGE_TOKEN" in err
    monkeypatch.setenv("REELVEC_PAGE_TOKEN", "short")
    code, _, err = words("--host", "0.0.0.0")
    assert code == 1 and "16 ASCII characters" in err and "short" not in err


def test_a_port_that_is_taken_is_said(words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = words("--port", port)
    assert (code, out) == (1, "") and f"127.0.0.1:{port}" in err and "choose another --port" in err


def test_an_address_of_another_machine_is_said(words, monkeypatch):
    monkeypatch.setenv("REELVEC_PAGE_TOKEN", "a-token-of-twenty-four-l")
    code, _, err = words("--host", "192.0.2.1", "--port", "0")
    assert code == 1 and "192.0.2.1:0" in err


def test_no_store_is_no_page(words, tmp_path):
    code, _, err = words(store=tmp_path / "none")
    assert code == 2 and "no store at" in err


def test_at_a_terminal_a_demo_ends_with_its_page_in_a_browser(real_store, tmp_path):
    asked, browser = tmp_path / "asked", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}\n')
    browser.chmod(0o755)
    ours, theirs = pty.openpty()
    command = python("-c", DEMO, "--store", real_store.store)
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"BROWSER": f"{browser} %s &"},
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509
    ) as demo:
        try:
            end = time.monotonic() + 200  # the machine may be busy
            while not (asked.exists() and asked.read_text().endswith("\n")):
                assert demo.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            address = asked.read_text().strip()
            assert address.startswith("http://127.0.0.1:")
            assert "<title>Reelvec" in httpx.get(address, timeout=60).text
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 130
        finally:
            demo.kill()
            os.close(theirs)
            os.close(ours)
