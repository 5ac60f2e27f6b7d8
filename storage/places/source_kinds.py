"""What `sources` asks of each scheme: S3's own requests, and fsspec's file systems for the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from reelvec.configs.uris import EXTRAS
from reelvec.storage.errors import AddressError, MissingArtifactError, RefusedError, StoreError
from reelvec.storage.places.source_contract import (
    ForbiddenError,
    LateError,
    Listed,
    Objects,
    mark_of,
)

__all__ = ["objects_of"]

_READING = "s3:GetObject and s3:ListBucket"
_REQUEST_SECONDS = 20.0
"""For what is no piece of a file."""
_WORDS = 300
"""Characters of what a library says, which may hold a whole answer."""


def objects_of(uri: str) -> Objects:
    """The objects of the scheme of `uri`.

    Raises:
        AddressError: the scheme needs a package that is not installed here.
    """
    scheme = uri.partition("://")[0]
    try:
        if scheme == "s3":
            return _S3()
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(scheme, scheme)
        raise AddressError(
            f"{uri} needs the extra {extra}, which is not installed here ({error}): pip install"
            f" 'reelvec[{extra}]'",
            path=uri,
        ) from error
    return _Http(scheme) if scheme.startswith("http") else _Others(scheme)


class _S3:
    """Objects of S3, through the client that stores use too."""

    tries = 1

    def __init__(self) -> None:
        from reelvec.storage.places.object_client import client
        from reelvec.storage.places.object_failures import explained_remote

        self._client = client
        self._explained = explained_remote

    def below(self, uri: str) -> Iterator[Listed]:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        named: dict[str, str] = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        while True:
            with self._explained("list", uri=uri, rights=_READING):
                page = self._client().call("list_objects_v2", **named)
            for entry in page.get("Contents", ()):
                yield _of_s3(f"s3://{bucket}/{entry['Key']}", entry, size=entry["Size"])
            if not page.get("IsTruncated"):
                return
            named["ContinuationToken"] = page["NextContinuationToken"]

    def at(self, uri: str) -> Listed:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with self._explained("read", uri=uri, rights=_READING):
            head = self._client().call("head_object", Bucket=bucket, Key=key)
        return _of_s3(uri, head, size=head["ContentLength"])

    def piece(self, uri: str, *, start: int, stop: int, seconds: float) -> bytes:
        from fsspec.asyn import sync

        files = self._client().files
        path, ends = uri.removeprefix("s3://"), {"start": start, "end": stop}
        with self._explained("read", uri=uri, rights=_READING), _in_time(uri, seconds):
            data: bytes = sync(files.loop, files._cat_file, path, **ends, timeout=seconds)
        return data


def _of_s3(uri: str, facts: dict[str, Any], *, size: int) -> Listed:
    modified: datetime = facts["LastModified"]
    named = {"etag": str(facts.get("ETag", "")), "modified_ns": _nanoseconds(modified)}
    return Listed(uri, mark_of(size=int(size), **named))  # type: ignore[arg-type]


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000) * 1000


class _Others:
    """Objects of every other scheme, through fsspec."""

    tries = 3

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def below(self, uri: str) -> Iterator[Listed]:
        with _explained("list", uri):
            found = self._files().find(self._path(uri), detail=True)
        for name, facts in found.items():
            address = name if "://" in name else f"{self._scheme}://{name}"
            yield self.at(address) if facts.get("size") is None else _listed(address, facts)

    def at(self, uri: str) -> Listed:
        with _explained("read", uri):
            return _listed(uri, self._files().info(self._path(uri)))

    def piece(self, uri: str, *, start: int, stop: int, seconds: float) -> bytes:
        from fsspec.asyn import sync

        files, ends = self._files(), {"start": start, "end": stop}
        with _explained("read", uri), _in_time(uri, seconds):
            if not files.async_impl:
                data: bytes = files.cat_file(self._path(uri), **ends)
            else:
                data = sync(files.loop, files._cat_file, self._path(uri), **ends, timeout=seconds)
        return data

    def _files(self) -> Any:
        return _file_system(os.getpid(), self._scheme)

    def _path(self, uri: str) -> str:
        return uri.partition("://")[2]


class _Http(_Others):
    """Files of a web server, whose index pages name them."""

    def below(self, uri: str) -> Iterator[Listed]:
        """Page by page: fsspec's walk leaves out, without a word, what it cannot list."""
        pages = [uri.rstrip("/")]
        for page in pages:
            with _explained("list", page):
                found = self._files().ls(f"{page}/", detail=True)
            for name, folder in [(one["name"], one["type"] == "directory") for one in found]:
                if folder and name.rstrip("/") not in pages:
                    pages.append(name.rstrip("/"))
                elif not folder:
                    yield self.at(name)

    def at(self, uri: str) -> Listed:
        """As its headers say: fsspec leaves out the time of the last change."""
        from fsspec.asyn import sync

        files = self._files()

        async def head() -> dict[str, Any]:
            session = await files.set_session()
            async with session.head(files.encode_url(uri), allow_redirects=True) as answer:
                files._raise_not_found_for_status(answer, uri)
                return {name.lower(): value for name, value in answer.headers.items()}

        with _explained("read", uri), _in_time(uri, _REQUEST_SECONDS):
            found = sync(files.loop, head, timeout=_REQUEST_SECONDS)
        facts = {"etag": found.get("etag"), "updated": found.get("last-modified")}
        listed = _listed(uri, facts | {"size": found.get("content-length")})
        if not listed.mark.inode and not listed.mark.mtime_ns:
            raise RefusedError(
                f"cannot read {uri}: its server gives no ETag and no Last-Modified, so nobody can"
                " tell whether it is still the same; let the server give one of them",
                path=uri,
            )
        return listed

    def _path(self, uri: str) -> str:
        return uri


@lru_cache(maxsize=8)
def _file_system(process: int, scheme: str) -> Any:  # noqa: ARG001
    """One a process: none survives a fork."""
    import fsspec

    named: dict[str, Any] = {}
    if scheme.startswith("http"):  # packed on the way, nobody knows how many bytes there are
        named = {"headers": {"Accept-Encoding": "identity"}}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **named)


def _listed(uri: str, facts: dict[str, Any]) -> Listed:
    """By what the services call them: Google md5Hash and etag, Azure etag, HTTP ETag."""
    etag = facts.get("md5Hash") or facts.get("etag") or facts.get("ETag") or ""
    modified = facts.get("last_modified") or facts.get("updated") or facts.get("Last-Modified")
    if isinstance(modified, str):
        parse: Callable[[str], datetime] = datetime.fromisoformat
        modified = (parsedate_to_datetime if "," in modified else parse)(modified)
    nanoseconds = _nanoseconds(modified) if isinstance(modified, datetime) else 0
    size = int(facts.get("size") or 0)
    return Listed(uri, mark_of(size=size, etag=str(etag), modified_ns=nanoseconds))


@contextmanager
def _in_time(uri: str, seconds: float) -> Iterator[None]:
    from fsspec.exceptions import FSTimeoutError

    try:
        yield
    except FSTimeoutError as error:
        raise LateError(f"{uri}: nothing came for {seconds:.0f} s", path=uri) from error


@contextmanager
def _explained(action: str, uri: str) -> Iterator[None]:
    """Turns the errors of fsspec's libraries, of no common class, into StoreErrors.

    Raises:
        MissingArtifactError: there is nothing.
        ForbiddenError: the credentials, or none, do not do.
        RefusedError: the server refuses, or does not answer.
    """
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise MissingArtifactError(
            f"cannot {action} {uri}: it is not there; was it removed? Correct the address",
            path=uri,
        ) from error
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:_WORDS]
        kind = ForbiddenError if _is_forbidden(error) else RefusedError
        raise kind(
            f"cannot {action} {uri}: {words}; check the address, the network and the credentials",
            path=uri,
        ) from error


def _is_forbidden(error: Exception) -> bool:
    """By what each library calls it: aiohttp status, Azure status_code; gcsfs has words alone."""
    status = getattr(error, "status", 0) or getattr(error, "status_code", 0)
    said = isinstance(error, OSError) and str(error).startswith("Forbidden")
    return status in (401, 403) or said or isinstance(error, PermissionError)
