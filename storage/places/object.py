"""A store on an S3-compatible object store: the same verbs, through fsspec's s3fs.

Publishing is one conditional put (``If-None-Match: *``), for large files one conditional
completion of a multipart upload: an object appears whole under its name, once, or not at all.
Nothing is renamed, and no listing is trusted. A server that does not refuse the second put would
let two writers overwrite each other, so it is tried out before the first write; one that only
completes uploads without conditions gets large files in one put.

Endpoint, credentials and region are those of every AWS tool (AWS_ENDPOINT_URL, AWS_PROFILE, …) or
of fsspec's configuration (FSSPEC_S3_…).
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import xxhash

from reelvec.storage.errors import AddressError, StoreError
from reelvec.storage.places.contract import Writer
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.places.object_client import client
from reelvec.storage.places.object_failures import Conflict, explained_remote
from reelvec.storage.places.object_probe import Probe, Tried
from reelvec.storage.places.part_cache import CacheOptions, PartCache, forget_scratch, sweep_scratch
from reelvec.storage.places.paths import split_path

__all__ = ["ObjectRoot"]

_CHUNK = 16 << 20  # bytes of one multipart piece; files up to twice that go in one put
_AT_ONCE = 4  # pieces in flight: 64 MiB of memory
_LARGEST_PUT = 5 << 30  # bytes one put may have, by S3's own rule
_DELETE_AT_ONCE = 1000  # the most one request may name
_CONFLICTS = 8
_PROBE = ".conditional-create"
_MARK = "reelvec-writer"
_DAY = 86_400.0


class ObjectRoot:
    """A store below s3://bucket/prefix.

    Files that readers map are copied to a local cache first (`part_cache`); files in the making
    are written below the same local folder.

    Raises:
        AddressError: the URI names no bucket, or a prefix with '..' or empty parts.
    """

    def __init__(self, uri: str, *, cache: CacheOptions | None = None) -> None:
        self._bucket, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
        if not self._bucket:
            raise AddressError(f"{uri!r} names no bucket: s3://bucket/prefix", path=uri)
        self._prefix = split_path(prefix) if prefix else []
        self.uri = "/".join(["s3:/", self._bucket, *self._prefix])
        options = cache or CacheOptions.from_environment()
        name = f"{self._bucket}-{xxhash.xxh3_64_hexdigest(self.uri.encode())}"
        self.local_folder = options.folder / "stores" / name
        self._scratch = options.folder / "scratch"
        self._cache, self.copies_limit = PartCache(options), options.limit_bytes

    def put_new(self, path: str, data: bytes) -> None:
        def send(mark: dict[str, str]) -> None:
            self._call("put_object", path, Body=data, IfNoneMatch="*", Metadata=mark)

        self._create(path, send, need=len(data))

    def put_file(self, path: str, file: Path) -> None:
        key = self._key(path)
        with explained("read", path=file):
            need = file.stat().st_size

        def send(mark: dict[str, str]) -> None:
            if need < 2 * _CHUNK or not self._takes_pieces(need):
                named = {"Bucket": self._bucket, "Key": key}
                client().put(file, **named, IfNoneMatch="*", Metadata=mark)
                return
            client().files.put_file(
                str(file),
                f"{self._bucket}/{key}",
                mode="create",
                chunksize=_CHUNK,
                max_concurrency=_AT_ONCE,
                Metadata=mark,
            )

        try:
            self._create(path, send, need=need)
        finally:
            if file.parent == self._scratch:
                file.unlink(missing_ok=True)

    @contextmanager
    def new_file(self, path: str) -> Iterator[Path]:
        scratch = self.new_scratch(Path(path).suffix)
        try:
            with explained("write", path=scratch, only=WRITE_FAILURES):
                yield scratch
            self.put_file(path, scratch)
        finally:
            scratch.unlink(missing_ok=True)

    def new_scratch(self, suffix: str = "") -> Path:
        with explained("write", path=self._scratch):
            self._scratch.mkdir(parents=True, exist_ok=True)
            sweep_scratch(self._scratch)
        return self._scratch / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"

    def read(self, path: str) -> bytes:
        with explained_remote("read", uri=self._at(path)):
            key = f"{self._bucket}/{self._key(path)}"
            data: bytes = client().files.cat_file(key, max_concurrency=1)
        return data

    def read_into(self, path: str, *, start: int, out: memoryview) -> int:
        with explained_remote("read", uri=self._at(path)):
            return client().read_into(self._bucket, self._key(path), start=start, out=out)

    def exists(self, path: str) -> bool:
        try:
            self._head(path)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        start = f"{self._key(prefix)}/" if prefix else "".join(f"{p}/" for p in self._prefix)
        names: set[str] = set()
        for page in self._pages(self._at(prefix), Prefix=start, Delimiter="/"):
            keys = [entry["Key"] for entry in page.get("Contents", ())]
            keys += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
            names.update(key[len(start) :].rstrip("/") for key in keys)
        return sorted(n for n in names if n and not n.startswith(_PROBE))

    def walk(self) -> Iterator[tuple[str, int, bool]]:
        start = "".join(f"{part}/" for part in self._prefix)
        for page in self._pages(self.uri, Prefix=start):
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(start), int(entry["Size"]), True

    def size(self, path: str) -> int:
        return int(self._head(path)["ContentLength"])

    def age_seconds(self, path: str) -> float:
        """By the server's own clock: this machine's may differ."""
        head = self._head(path)
        said = head["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        written: datetime = head["LastModified"]
        return max(0.0, (now - written).total_seconds())

    def delete(self, *paths: str) -> None:
        keys = [{"Key": self._key(path)} for path in paths]
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            some = {"Objects": keys[start : start + _DELETE_AT_ONCE], "Quiet": True}
            with explained_remote("delete", uri=self._at(paths[start])):
                answer = client().call("delete_objects", Bucket=self._bucket, Delete=some)
            for refused in answer.get("Errors", ()):
                raise StoreError(
                    f"cannot delete s3://{self._bucket}/{refused.get('Key')}: "
                    f"{refused.get('Code')} {refused.get('Message', '')}; the credentials need "
                    "s3:DeleteObject",
                    path=f"s3://{self._bucket}/{refused.get('Key')}",
                )

    def begin_writing(self) -> None:
        """Nothing to do: see `writers`."""

    def writers(self) -> Sequence[Writer]:
        """Somebody may have begun within a day: an object store knows of no processes."""
        return [Writer("somebody (an object store cannot tell)", seconds=_DAY, known=False)]

    def link_on(self, path: str) -> str:  # noqa: ARG002
        """None: objects have no links."""
        return ""

    def sync(self, *paths: str) -> None:
        """Nothing to do: an object that is seen is durable."""

    def forget_copies(self) -> None:
        """Copies of every store: one of a deleted object is not told from the others any more."""
        self._cache.empty()
        if self._scratch.is_dir():
            forget_scratch(self._scratch)

    def local_path(self, path: str, *, fresh: bool = False) -> Path:
        head = self._head(path)
        version = f"{self._at(path)}\n{head['ETag']}\n{head['LastModified']}"
        name = f"{xxhash.xxh3_128_hexdigest(version.encode())}{Path(path).suffix}"

        def fetch(target: Path) -> None:
            source = f"{self._bucket}/{self._key(path)}"
            with (
                explained_remote("read", uri=self._at(path)),
                explained("write", path=target, only=WRITE_FAILURES),  # the local disk is full
            ):
                client().files.get_file(source, str(target), max_concurrency=_AT_ONCE)

        return self._cache.get(name, size=int(head["ContentLength"]), fetch=fetch, fresh=fresh)

    def rehearse(self) -> Tried:
        """Tries out a write as the first ones of a run do; leaves nothing behind.

        Raises:
            StoreError: a run could not write here, or not remove what it wrote.
        """
        probe = Probe(self._bucket, f"{self._key(_PROBE)}-{secrets.token_hex(8)}")
        return probe.rehearse()

    def _create(self, path: str, send: Callable[[dict[str, str]], None], *, need: int) -> None:
        """Sends a conditional put until it is answered.

        An answer may be lost and the request sent again, which is then refused because of itself;
        or all answers are lost, or the upload that was completed is gone. The mark each put
        carries tells what arrived from another writer's object.
        """
        self._try_out()
        mark = {_MARK: secrets.token_hex(16)}
        for attempt in range(_CONFLICTS):
            try:
                with explained_remote("write", uri=self._at(path), need=need):
                    send(mark)
            except (FileExistsError, StoreError) as error:
                if self._carries(mark, path):
                    return
                # two at the same moment: the server asks to try again
                if not isinstance(error, Conflict) or attempt == _CONFLICTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
                continue
            return

    def _carries(self, mark: dict[str, str], path: str) -> bool:
        try:
            return bool(self._head(path).get("Metadata") == mark)
        except StoreError:
            return False

    def _try_out(self) -> None:
        """Makes sure, once a process, that the server refuses to create what is there.

        Raises:
            StoreError: it does not; nothing of the store was written.
        """
        if self.uri not in client().create_once:
            Probe(self._bucket, self._key(_PROBE)).check_creates()
            client().create_once.add(self.uri)

    def _takes_pieces(self, need: int) -> bool:
        """Whether the server completes an upload in pieces only where nothing is there.

        Asked once a process, when a file is large enough to care.

        Raises:
            StoreError: it does not, and `need` bytes are more than one put may have.
        """
        known = client().complete_once
        if self.uri not in known:
            known[self.uri] = Probe(self._bucket, self._key(_PROBE)).completes_once()
        if not known[self.uri] and need > _LARGEST_PUT:
            raise StoreError(
                f"a file of {need} bytes cannot be written to {self.uri}: its server completes "
                "uploads in pieces without conditions, and one put has at most "
                f"{_LARGEST_PUT} bytes; make smaller shards (extract.shard_videos, JPEG frames), "
                "or use a server that completes them conditionally (AWS, MinIO) or a folder",
                path=self.uri,
            )
        return known[self.uri]

    def _pages(self, uri: str, **named: str) -> Iterator[dict[str, Any]]:
        while True:
            with explained_remote("list", uri=uri):
                page = client().call("list_objects_v2", Bucket=self._bucket, **named)
            yield page
            if not page.get("IsTruncated"):
                return
            named["ContinuationToken"] = page["NextContinuationToken"]

    def _head(self, path: str) -> dict[str, Any]:
        with explained_remote("read", uri=self._at(path)):
            return self._call("head_object", path)

    def _call(self, method: str, path: str, **arguments: object) -> dict[str, Any]:
        return client().call(method, Bucket=self._bucket, Key=self._key(path), **arguments)

    def _key(self, path: str) -> str:
        return "/".join([*self._prefix, *split_path(path)])

    def _at(self, path: str) -> str:
        return f"{self.uri}/{path}"
