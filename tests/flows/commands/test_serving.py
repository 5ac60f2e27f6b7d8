"""serve: what keeps the page from being served is said in words; how it is served, from outside.

tests/flows/page has the page itself, and a browser that looks at it.
"""

import socket

import pytest

from tests.support.command_line import typed


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
