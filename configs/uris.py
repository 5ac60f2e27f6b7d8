"""Addresses of objects: the schemes that are read, and what an address may hold."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, unquote

__all__ = ["EXTRAS", "checked_uri", "is_uri", "name_in_web", "spelled_for_web"]

EXTRAS = {
    "s3": "s3",
    "gs": "gs",
    "az": "az",
    "http": "http",
    "https": "http",
}
"""The extra of this package that each scheme needs."""

_PLAIN = "/!$&'()*+,;=:@"
"""What a path of a web address may hold as it is, beside letters and numbers (RFC 3986)."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def is_uri(text: str) -> bool:
    """Whether it is an address of some scheme, and no path of this machine."""
    return _SCHEME.match(text) is not None


def checked_uri(text: str) -> str:
    """The address without a slash at its end.

    Raises:
        ValueError: a scheme that is not read, no bucket or host, credentials, a query, or '..'.
    """
    scheme, _, rest = text.partition("://")
    known = ", ".join(f"{name}://" for name in EXTRAS)
    if scheme not in EXTRAS:
        raise ValueError(f"({text}) is of no scheme that is read: {known}; or give a path")
    bucket, _, key = rest.rstrip("/").partition("/")
    if not bucket:
        raise ValueError(f"({text}) names no bucket: {scheme}://bucket/prefix; add it")
    if "@" in bucket:
        raise ValueError(
            f"({scheme}://…@{bucket.rpartition('@')[2]}) holds credentials, which would be written"
            " in the store; give them as the tools of that store do (AWS_PROFILE, …)"
        )
    if scheme in ("http", "https") and ("?" in key or "#" in key):
        raise ValueError(
            f"({scheme}://{bucket}/…) has a query, which may hold a signature and would be written"
            " in the store; give an address without one"
        )
    if key and posixpath.normpath(key) != key:
        raise ValueError(f"({text}) has '..', '.' or empty parts; write the address without them")
    return f"{scheme}://{rest.rstrip('/')}"


def spelled_for_web(name: str) -> str:
    """How an address of a web server writes a path: `my clip.mp4` is `my%20clip.mp4`."""
    return quote(name, safe=_PLAIN, errors="surrogatepass")


def name_in_web(path: str) -> str | None:
    """The path that an address of a web server writes so, the inverse of `spelled_for_web`.

    None: it is of no file: bytes that are no UTF-8, or a slash, a dot or a NUL in a name's place.
    """
    try:
        name = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None
    parts = name.split("/")
    odd = len(parts) != path.count("/") + 1 or "\0" in name or not {".", ".."}.isdisjoint(parts)
    return None if odd else name
