"""Ranges of S3 objects straight from a connection into memory: a third of what s3fs costs in CPU.

Only what succeeds comes this way. Whatever else a server says, and whatever breaks, is left to
s3fs, which asks again and has the words for each failure. The address of an object is signed by
botocore for an hour, so that a request costs no signature: the range is no part of it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from weakref import finalize

import s3fs
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
from botocore.httpsession import get_cert_path  # type: ignore[import-untyped]
from botocore.utils import get_environ_proxies  # type: ignore[import-untyped]
from fsspec.asyn import sync

__all__ = ["RangeReader"]

_SIGNED_SECONDS = 3600
_USED_SECONDS = 1200.0
"""Of an address; then it is signed again: credentials change."""
_ADDRESSES = 1 << 16
_IDLE_SECONDS = 10.0
"""Servers close connections that nobody uses: one that waited longer is not used again."""
_PASSING = (404, 408, 416, 429)
"""What a server says of one request; so are all its own failures."""


@dataclass(slots=True)
class _Host:
    """A server, and connections to it that nobody uses at the moment."""

    name: str
    tls: ssl.SSLContext | None
    seconds: tuple[float, float]
    """To connect, and for each piece of an answer."""
    idle: list[tuple[http.client.HTTPConnection, float]] = field(default_factory=list)
    """Connections, and since when."""

    def take(self) -> http.client.HTTPConnection:
        """One that is open, or another."""
        oldest = time.monotonic() - _IDLE_SECONDS
        with suppress(IndexError):
            while True:  # other threads take some too
                connection, since = self.idle.pop()
                if since >= oldest:
                    return connection
                connection.close()
        connecting, reading = self.seconds
        if self.tls is None:
            connection = http.client.HTTPConnection(self.name, timeout=connecting)
        else:
            connection = http.client.HTTPSConnection(
                self.name, timeout=connecting, context=self.tls
            )
        connection.connect()
        if self.tls is None:  # the kernel waits, by its own clock: see _fill
            connection.sock.settimeout(None)
            whole, rest = divmod(int(reading * 1e6), 10**6)
            span = struct.pack("ll", whole, rest)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        else:
            connection.sock.settimeout(reading)
        return connection

    def keep(self, connection: http.client.HTTPConnection) -> None:
        self.idle.append((connection, time.monotonic()))


@dataclass(frozen=True, slots=True)
class _Address:
    """Of an object."""

    host: _Host
    target: str
    signed_at: float


class _RefusedError(Exception):
    """The server does not take the address, or knows no ranges."""


class RangeReader:
    """Reads ranges of objects into the caller's memory; for several threads at once.

    Args:
        files: whose settings and credentials are used.
    """

    def __init__(self, files: s3fs.S3FileSystem) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._addresses: OrderedDict[tuple[str, str], _Address] = OrderedDict()
        self._refused: set[str] = set()
        """Buckets whose ranges do not come this way."""
        finalize(self, _close, self._hosts)

    def read_into(self, bucket: str, key: str, *, start: int, out: memoryview) -> int | None:
        """Fills `out`, of one byte or more, from `start` on; how many came, fewer at the end.

        None: they did not come this way, and what `out` holds is of no meaning.
        """
        if bucket in self._refused:
            return None
        address = self._address(bucket, key)
        try:
            is_new = address is None
            address = address or self._sign(bucket, key)
            return _read(address, start=start, out=out)
        except _RefusedError:
            if is_new:  # as it was just signed, so would others be
                self._refused.add(bucket)
            with self._lock:
                self._addresses.pop((bucket, key), None)
        except (OSError, ValueError, http.client.HTTPException, BotoCoreError):
            pass  # s3fs asks again, and tells what it meets
        return None

    def _address(self, bucket: str, key: str) -> _Address | None:
        """As it was signed lately."""
        with self._lock:
            found = self._addresses.get((bucket, key))
            if found is None or found.signed_at < time.monotonic() - _USED_SECONDS:
                return None
            self._addresses.move_to_end((bucket, key))
            return found

    def _sign(self, bucket: str, key: str) -> _Address:
        """Raises _RefusedError where requests go through a proxy or show a certificate."""

        async def sign() -> str:
            s3 = await self._files.set_session()
            self._seconds = s3.meta.config.connect_timeout, s3.meta.config.read_timeout
            if s3.meta.config.proxies or s3.meta.config.client_cert:
                raise _RefusedError
            events = s3.meta.events  # what is signed for a while has an old form by default
            events.register("choose-signer.s3.GetObject", _as_today, unique_id="reelvec-ranges")
            named = {"Bucket": bucket, "Key": key, **self._files.req_kw}
            url: str = await s3.generate_presigned_url(
                "get_object", Params=named, ExpiresIn=_SIGNED_SECONDS
            )
            return url

        now = time.monotonic()
        url = urlsplit(sync(self._files.loop, sign))
        if get_environ_proxies(url.geturl()):
            raise _RefusedError
        with self._lock:
            host = self._hosts.get(url.netloc)
            if host is None:
                tls = self._tls() if url.scheme == "https" else None
                host = self._hosts[url.netloc] = _Host(url.netloc, tls, self._seconds)
            found = _Address(host, f"{url.path}?{url.query}", now)
            self._addresses[bucket, key] = found
            while len(self._addresses) > _ADDRESSES:
                self._addresses.popitem(last=False)
        return found

    def _tls(self) -> ssl.SSLContext:
        """Trusts whom botocore trusts."""
        verify = self._files.client_kwargs.get("verify")
        if verify is None:
            verify = self._files.session.get_config_variable("ca_bundle") or True
        if not verify:
            raise _RefusedError
        return ssl.create_default_context(cafile=get_cert_path(verify))


def _read(address: _Address, *, start: int, out: memoryview) -> int:
    """Raises OSError or HTTPException where a connection breaks, _RefusedError."""
    connection = address.host.take()
    whole = False
    try:
        asked = {"Range": f"bytes={start}-{start + len(out) - 1}"}
        connection.request("GET", address.target, headers=asked)
        answer = connection.getresponse()
        count = _promised(answer, start=start, most=len(out))
        _fill(out[:count], answer, connection)
        whole = not answer.will_close
    finally:
        if whole:
            address.host.keep(connection)
        else:
            connection.close()
    return count


def _fill(
    out: memoryview, answer: http.client.HTTPResponse, connection: http.client.HTTPConnection
) -> None:
    """Takes all of `out` in one call where it can.

    Each call that returns must wait for the interpreter's lock, with as many threads as there are
    requests, and for whom gathers: on a busy machine these waits are what a clip costs most.
    """
    if answer.will_close or isinstance(connection.sock, ssl.SSLSocket):
        got = answer.readinto(out) or 0  # record by record; where it closes, it is the answer's
    else:
        got = min(len(out), len(answer.fp.peek()))  # came with the head
        answer.fp.readinto(out[:got])
        while got < len(out) and (
            came := connection.sock.recv_into(out[got:], len(out) - got, socket.MSG_WAITALL)
        ):
            got += came
        answer.close()
    if got < len(out):
        raise http.client.IncompleteRead(b"", len(out) - got)


def _promised(answer: http.client.HTTPResponse, *, start: int, most: int) -> int:
    """Bytes of the range that come.

    Raises:
        HTTPException: the server failed.
        _RefusedError: another answer than this range.
    """
    if answer.status in _PASSING or answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise http.client.HTTPException(answer.status)
    count = answer.length
    span = f"bytes {start}-{start + (count or 0) - 1}/"
    if (
        answer.status != http.client.PARTIAL_CONTENT
        or not count
        or count > most
        or not (answer.getheader("Content-Range") or "").startswith(span)
        or answer.getheader("Content-Encoding") not in (None, "identity")
    ):
        raise _RefusedError
    return count


def _as_today(signature_version: str, **_: object) -> str | None:
    """Signature version 4, where botocore would take 2, which not every server knows."""
    return "s3v4-query" if signature_version in ("v4-query", "s3v4-query") else None


def _close(hosts: dict[str, _Host]) -> None:
    for host in hosts.values():
        for connection, _ in host.idle:
            connection.close()
