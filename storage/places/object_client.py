"""The S3 client of a process: one connection pool, one retry rule, one way to sign what is sent."""

from __future__ import annotations

import mimetypes
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import s3fs
from fsspec.asyn import sync

from reelvec.storage.places.object_failures import code_of
from reelvec.storage.places.object_ranges import RangeReader

__all__ = ["Client", "client"]

_CONFIG = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 64,  # as many as clips are fetched at once; botocore's own are ten
    "retries": {"mode": "standard", "total_max_attempts": 4},
    # Without it what is sent over https carries a checksum behind its end, which many servers
    # refuse. The signature then holds the SHA-256 of the bytes, over http and https alike, and
    # every server compares it: nothing arrives damaged.
    "request_checksum_calculation": "when_required",
}
_ROUNDS = 2  # of the attempts above: s3fs's own, for answers that break off while they are read


@dataclass(frozen=True, slots=True)
class Client:
    """s3fs, shared by the threads of a process, and what it has learned of each store's server."""

    files: s3fs.S3FileSystem
    ranges: RangeReader
    create_once: set[str] = field(default_factory=set)
    """URIs of the stores whose server was seen to refuse a second create."""
    complete_once: dict[str, bool] = field(default_factory=dict)
    """By URI, whether it refuses the completion of an upload whose name is taken."""

    def call(self, method: str, **arguments: object) -> dict[str, Any]:
        """One request of the S3 API, by its name in boto3."""
        answer: dict[str, Any] = self.files.call_s3(method, **arguments)
        return answer

    def read_into(self, bucket: str, key: str, *, start: int, out: memoryview) -> int:
        """Fills `out` with bytes of an object from `start` on; how many came."""
        if not out:
            return 0
        count = self.ranges.read_into(bucket, key, start=start, out=out)
        if count is None:
            try:
                data = self.files.cat_file(f"{bucket}/{key}", start=start, end=start + len(out))
            except OSError as error:
                if code_of(error) != "InvalidRange":
                    raise
                data = b""  # it ends before `start`
            count = len(data)
            out[:count] = data
        return count

    def put(self, file: Path, **arguments: object) -> None:
        """A file in one put, streamed: s3fs would hold it in memory."""

        async def send() -> None:
            s3 = await self.files.get_s3(arguments["Bucket"])
            with file.open("rb") as body:
                await s3.put_object(Body=body, **arguments)

        kind, _ = mimetypes.guess_type(file.name)
        if kind:
            arguments["ContentType"] = kind
        sync(self.files.loop, send)


def client() -> Client:
    """The client for this process and its environment, made when first asked for."""
    named = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "FSSPEC_"))}
    return _client(os.getpid(), tuple(sorted(named.items())))


@lru_cache(maxsize=4)
def _client(process: int, environment: tuple[tuple[str, str], ...]) -> Client:  # noqa: ARG001
    """A client a process (none survives a fork) and configuration."""
    files = s3fs.S3FileSystem(
        config_kwargs=_CONFIG, use_listings_cache=False, skip_instance_cache=True
    )
    files.retries = _ROUNDS
    return Client(files, RangeReader(files))
