"""Serve the page until a signal ends the command."""

from __future__ import annotations

import socket
import threading
import webbrowser
from dataclasses import dataclass
from typing import NoReturn

import uvicorn

import reelvec
from reelvec.errors import RequestError
from reelvec.flows.console.output import complain, is_person
from reelvec.flows.page.addresses import site
from reelvec.flows.page.guard import check_token

__all__ = ["ServeOptions", "serve_page"]

_TEXT_BROWSERS = (webbrowser.GenericBrowser,)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Where the page is, and for whom."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0: any that is free."""
    token: str = ""
    """That a visitor must bring; needed where `host` is no loopback address."""
    open: bool = True
    """Open it in a browser, where a person is at the terminal."""


def serve_page(store: reelvec.Store, *, options: ServeOptions) -> NoReturn:
    """Serves until a signal raises `Stopped` here, in the main thread.

    The server has a thread of its own: an event loop would take the signal's exception for a
    failure of whatever it was doing.

    Raises:
        RequestError: it cannot be bound there, or needs a token.
    """
    check_token(options.token, host=options.host)
    listener = _bound(options.host, options.port)
    port = listener.getsockname()[1]
    app = site(store, host=options.host, token=options.token)
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="reelvec-page", daemon=True
    )
    thread.start()
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{port}/"
    complain(f"{store.uri} is shown at {url}{'?token=…' if options.token else ''} (Ctrl-C ends it)")
    if options.open and not options.token and is_person():
        _open(url)
    try:
        while thread.is_alive():
            thread.join(1.0)
        raise RequestError(f"the page at {url} has ended by itself; start it again")
    finally:
        server.should_exit = server.force_exit = True


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise RequestError(
            f"the page cannot be at {host}:{port} ({getattr(error, 'strerror', None) or error});"
            " choose another --port (0: any that is free)"
        ) from None


def _open(url: str) -> None:
    """In a browser with windows; one that would take over the terminal is left alone."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) not in _TEXT_BROWSERS:
        browser.open(url)
