"""Who may ask, and what every answer says: nothing behind this is reached by another site's page.

A page of another site can make a browser send requests here, by its own name for this address too
(DNS rebinding). So a request must name the host it means; beyond loopback it must bring the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlencode

from reelvec.errors import RequestError

__all__ = ["App", "Guard", "check_token", "is_loopback"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LEAST_TOKEN = 16
_COOKIE = "reelvec-token"
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self';"
    b" img-src 'self'; media-src 'self'; connect-src 'self'; base-uri 'none';"
    b" form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only processes of this machine reach what is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(token: str, *, host: str) -> None:
    """Refuses a token that is too short, and to be reached from afar without one.

    Raises:
        RequestError: says how to set one.
    """
    remedy = (
        "set REELVEC_PAGE_TOKEN, e.g. to what `python -c 'import secrets;"
        " print(secrets.token_urlsafe())'` prints"
    )
    if not token and not is_loopback(host):
        raise RequestError(
            f"--host {host} is reached from other machines, and so needs a token: {remedy}; or"
            " leave --host out and use an SSH tunnel"
        )
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise RequestError(
            f"the token must have {_LEAST_TOKEN} ASCII characters at least: {remedy}"
        )


class Guard:
    """ASGI: lets GET and HEAD through to `app`, with the right host or token.

    Args:
        app: what answers.
        hosts: names that a request may have come by, without ports; empty: any (with a token).
        token: "" for none.
    """

    def __init__(self, app: App, *, hosts: frozenset[str], token: str) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a socket: it is closed unopened
        headers = dict(scope["headers"])
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] not in ("GET", "HEAD"):
            await _say(send, 405, "only GET and HEAD are answered: nothing can be changed here")
        elif self._hosts and _name_of(headers.get(b"host", b"")) not in self._hosts:
            wanted = ", ".join(sorted(self._hosts))
            await _say(send, 421, f"this is not the page of that host; ask by {wanted}")
        elif headers.get(b"sec-fetch-site") == b"cross-site" and not _is_visit(headers):
            await _say(send, 403, "another site's page may not ask here")
        elif not self._token:
            await self._app(scope, receive, _with_headers(send))
        elif scope["path"] == "/" and self._is_token(query.get("token", [""])[0]):
            await _welcome(send, self._token, secure=scope.get("scheme") == "https", query=query)
        elif self._is_token(_bearer(headers)) or self._is_token(_cookie(headers)):
            await self._app(scope, receive, _with_headers(send))
        else:
            await _say(send, 401, "a token is needed: open /?token=… once, as `reelvec serve` says")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _name_of(host: bytes) -> str:
    """A Host header without its port, in lower case."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name.partition("]")[0].removeprefix("[")
    return name.partition(":")[0]


def _is_visit(headers: dict[bytes, bytes]) -> bool:
    """Whether a person follows a link: the page opens in a tab of its own."""
    return headers.get(b"sec-fetch-mode") == b"navigate" and (
        headers.get(b"sec-fetch-dest") == b"document"
    )


def _bearer(headers: dict[bytes, bytes]) -> str:
    kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token if kind.lower() == "bearer" else ""


def _cookie(headers: dict[bytes, bytes]) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    found = cookies.get(_COOKIE)
    return found.value if found is not None else ""


async def _welcome(send: Send, token: str, *, secure: bool, query: dict[str, list[str]]) -> None:
    """The token into a cookie, and out of the address."""
    left = urlencode({name: values[0] for name, values in query.items() if name != "token"})
    cookie: SimpleCookie = SimpleCookie({_COOKIE: token})
    cookie[_COOKIE]["httponly"], cookie[_COOKIE]["secure"] = True, secure
    cookie[_COOKIE]["samesite"], cookie[_COOKIE]["path"] = "Strict", "/"
    words = cookie[_COOKIE].OutputString().encode("latin-1")
    to = f"/?{left}" if left else "/"
    headers = [(b"location", to.encode("latin-1")), (b"set-cookie", words)]
    start: Message = {"type": "http.response.start", "status": 303, "headers": headers}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": b""})


async def _say(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": f"{words}\n".encode()})


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            added = [pair for pair in _HEADERS.items() if pair[0] not in names]
            message = {**message, "headers": [*given, *added]}
        await send(message)

    return sent
