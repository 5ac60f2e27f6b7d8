"""What `sources` asks of each scheme: S3's own requests, and fsspec's file systems for the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from reelvec.configs.uris import EXTRAS
from reelvec.storage.errors import AddressError, MissingArtifactError, RefusedError, StoreError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.places.in_threads import in_threads
from reelvec.storage.places.source_contract import LateError, Listed, Objects, Wanted, mark_of
from reelvec.storage.places.source_failures import asked_again, explained_source, in_time

__all__ = ["objects_of"]

_READING = "s3:GetObject and s3:ListBucket"
_REQUEST_SECONDS = 20.0
"""For what is no piece of a file."""
_PAGE_SECONDS = 120.0
"""For an index page, which may name very many files."""
_AT_ONCE = 16
"""Files that one server is asked about."""
_MOST_DIGITS = 18
"""Of a size that is one: columns hold 63 bits."""


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

    def below(self, uri: str, *, wanted: Wanted) -> Iterator[Listed]:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        named: dict[str, str] = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        while True:
            with self._explained("list", uri=uri, rights=_READING):
                page = self._client().call("list_objects_v2", **named)
            for entry in page.get("Contents", ()):
                if wanted(address := f"s3://{bucket}/{entry['Key']}"):
                    yield _of_s3(address, entry, size=entry["Size"])
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
        with self._explained("read", uri=uri, rights=_READING), in_time(uri, seconds):
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

    def below(self, uri: str, *, wanted: Wanted) -> Iterator[Listed]:
        def find() -> dict[str, dict[str, Any]]:
            with explained_source("list", uri):
                found: dict[str, dict[str, Any]] = self._files().find(self._path(uri), detail=True)
            return found

        unknown: list[str] = []
        found = asked_again(find, tries=self.tries, settled=MissingArtifactError)
        for name, facts in found.items():
            address = name if "://" in name else f"{self._scheme}://{name}"
            if not wanted(address):
                continue
            if facts.get("size") is None:
                unknown.append(address)
            else:
                yield _listed(address, facts)
        yield from self._asked_about(unknown)

    def at(self, uri: str) -> Listed:
        settled = (LateError, MissingArtifactError)
        return asked_again(lambda: self._ask(uri), tries=self.tries, settled=settled)

    def _asked_about(self, uris: list[str]) -> Iterator[Listed]:
        """Several at once, in their order; what goes wrong is the fault of that one alone.

        One that a listing has just named is asked for again even where it is said to be missing.
        """

        def ask(uri: str) -> Listed:
            try:
                return asked_again(lambda: self._ask(uri), tries=self.tries, settled=LateError)
            except StoreError as error:
                return Listed(uri, FileMark(), error)

        return in_threads(ask, uris, most=_AT_ONCE)

    def _ask(self, uri: str) -> Listed:
        """One request."""
        with explained_source("read", uri):
            return _listed(uri, self._files().info(self._path(uri)))

    def piece(self, uri: str, *, start: int, stop: int, seconds: float) -> bytes:
        from fsspec.asyn import sync

        files, ends = self._files(), {"start": start, "end": stop}
        with explained_source("read", uri), in_time(uri, seconds):
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

    def below(self, uri: str, *, wanted: Wanted) -> Iterator[Listed]:
        """Page by page: fsspec's walk leaves out, without a word, what it cannot list."""
        pages = [f"{uri}/"]
        seen = set(pages)
        for page in pages:
            names = [name for name in self._named_by(page) if name not in seen]
            seen.update(names)
            below = [name for name in names if name.endswith("/")]
            pages += [name for name in below if "/." not in name.removeprefix(uri)]  # not hidden
            yield from self._asked_about([name for name in names if wanted(name)])

    def _named_by(self, page: str) -> list[str]:
        """What an index page names, in order: pages below it with a slash at the end."""
        from fsspec.asyn import sync

        files, seconds = self._files(), _PAGE_SECONDS

        def ask() -> list[str]:
            with explained_source("list", page.rstrip("/")), in_time(page, seconds):
                return list(sync(files.loop, files._ls, page, detail=False, timeout=seconds))

        found = asked_again(ask, tries=self.tries, settled=MissingArtifactError)
        return sorted({name.replace("/./", "/") for name in found})

    def _ask(self, uri: str) -> Listed:
        """As its headers say: fsspec leaves out the time of the last change."""
        from fsspec.asyn import sync

        files = self._files()

        async def head() -> dict[str, Any]:
            session, url = await files.set_session(), files.encode_url(uri)
            async with session.head(url, allow_redirects=True, **files.kwargs) as answer:
                files._raise_not_found_for_status(answer, uri)
                return {name.lower(): value for name, value in answer.headers.items()}

        with explained_source("read", uri), in_time(uri, _REQUEST_SECONDS):
            return _of_headers(uri, sync(files.loop, head, timeout=_REQUEST_SECONDS))

    def _path(self, uri: str) -> str:
        return uri


def _of_headers(uri: str, found: dict[str, Any]) -> Listed:
    """What a web server says of a file.

    Raises:
        RefusedError: nothing can be made of it.
    """
    size, kind = found.get("content-length", ""), found.get("content-type", "")
    if kind.partition(";")[0].strip().lower() == "text/html":
        fault = "its server answers with a page (text/html) and no file: open it in a browser"
    elif not (size.isdecimal() and len(size) <= _MOST_DIGITS):
        fault = "its server does not say how many bytes it has; let the server give Content-Length"
    else:
        facts = {"etag": found.get("etag"), "updated": found.get("last-modified"), "size": size}
        listed = _listed(uri, facts)
        if listed.mark.inode or listed.mark.mtime_ns:
            return listed
        fault = (
            "its server gives no ETag and no Last-Modified, so nobody can tell whether it is still"
            " the same; let the server give one of them"
        )
    raise RefusedError(f"cannot read {uri}: {fault}", path=uri)


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
    size, at = int(facts.get("size") or 0), 0
    with suppress(ValueError, OverflowError):  # of words that are no time none is known
        if isinstance(modified, str):
            parse: Callable[[str], datetime] = datetime.fromisoformat
            modified = (parsedate_to_datetime if "," in modified else parse)(modified)
        at = _nanoseconds(modified) if isinstance(modified, datetime) else 0
    return Listed(uri, mark_of(size=size, etag=str(etag), modified_ns=at if 0 < at < 2**63 else 0))
