"""Serve the page until a signal ends the command."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvicorn

import reelvec
from reelvec.errors import RequestError
from reelvec.flows.console.browser import open_in_browser
from reelvec.flows.console.output import complain, is_person
from reelvec.flows.page.addresses import site
from reelvec.flows.page.guard import check_token

__all__ = ["ServeOptions", "serve_page"]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Where the page is, and for whom."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0: any that is free."""
    token: str = ""
    """That a visitor must bring; needed where `host` is no loopback address."""
    attributes: Path | None = None
    """What the caller knows of the videos, by `video_id`, to filter by: a Parquet file."""
    open: bool = True
    """Open it in a browser, where a person is at the terminal."""


def serve_page(store: reelvec.Store, *, options: ServeOptions) -> NoReturn:
    """Serves until a signal raises `Stopped` here, in the main thread.

    The server has a thread of its own: an event loop would take the signal's exception for a
    failure of whatever it was doing.

    Raises:
        RequestError: it cannot be bound there, needs a token, or has no such attributes.
        CorpusError: the attributes cannot be read.
    """
    check_token(options.token, host=options.host)
    app = site(store, host=options.host, token=options.token, attributes=options.attributes)
    listener = _bound(options.host, options.port)
    port = listener.getsockname()[1]
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
        open_in_browser(url)
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
