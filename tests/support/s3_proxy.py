"""A proxy on loopback before an S3 server that loses, cuts, delays or replaces answers."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LOSE = "lose"  # the request arrives, the connection breaks instead of an answer
DROP = "drop"  # neither
CUT = "cut"  # it arrives, and the connection breaks in the middle of the answer's bytes
STALL = "stall"  # it arrives, and nothing more happens for a second
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>no</Message></Error>'
)


@dataclass
class Trouble:
    """What to do with the requests that `when` picks by method and path, and how often."""

    when: Callable[[str, str], bool]
    what: str
    """LOSE, DROP, CUT, STALL, '503 SlowDown' (status, error code), or '200 <html>' (a body)."""
    times: int = 1_000_000
    met: int = field(default=0, init=False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    troubles: list[Trouble]
    latency: float

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.latency)
        trouble = next(
            (t for t in self.troubles if t.met < t.times and t.when(self.command, self.path)), None
        )
        if trouble is None:
            self._give(*self._ask(body))
            return
        trouble.met += 1
        if trouble.what == CUT:
            self._cut(*self._ask(body))
            return
        if trouble.what in (LOSE, DROP, STALL):
            if trouble.what != DROP:
                self._ask(body)
            if trouble.what == STALL:
                time.sleep(1.0)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, _, code = trouble.what.partition(" ")
        text = code if code.startswith("<") else ERROR.format(code=code)
        self._give(int(status), [], text.encode())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return found

    def _give(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        asked = {name.lower(): value for name, value in headers}.get("content-length")
        length = asked if self.command == "HEAD" and asked else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


@contextmanager
def s3_proxy(url: str, *troubles: Trouble, latency: float = 0.0) -> Iterator[str]:
    """Starts it before the server at `url` (http); yields its own URL.

    Each request waits `latency` seconds.
    """
    named = {
        "upstream": urlsplit(url).netloc,
        "troubles": list(troubles),
        "latency": latency,
    }
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), named)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
