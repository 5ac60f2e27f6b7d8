"""A folder as an S3 server that answers late: ``python -m tests.benchmarks._far_server FOLDER``.

Its folders are buckets, which anyone may read; it writes nothing. What it gives goes from the page
cache into the socket (sendfile), so that it takes little of the machine that the reader shares.
Each request waits, beside the others. `/cpu` tells the CPU seconds it has used.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_BUFFER = 4 << 20


class _Connection(asyncio.Protocol):
    folder: Path
    latency: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._came = transport, b""
        self._requests: asyncio.Queue[bytes] = asyncio.Queue()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._answering = asyncio.ensure_future(self._answer_all())

    def data_received(self, data: bytes) -> None:
        *requests, self._came = (self._came + data).split(b"\r\n\r\n")
        for request in requests:
            self._requests.put_nowait(request)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._answering.cancel()

    async def _answer_all(self) -> None:
        while True:
            request = (await self._requests.get()).decode()
            await asyncio.sleep(self.latency)
            first, *lines = request.split("\r\n")
            method, target, _ = first.split(" ")
            fields = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in fields}
            url = urlsplit(target)
            path = unquote(url.path).strip("/")
            if path == "cpu":
                self._say(200, str(time.process_time()).encode())
            elif "list-type=2" in url.query:
                self._say(200, _listing(self.folder, path, parse_qs(url.query)))
            else:
                await self._give(method, self.folder / path, headers.get("range", ""))

    def _say(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} .\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    async def _give(self, method: str, file: Path, span: str) -> None:
        if not file.is_file():
            self._say(404, b"")
            return
        facts = file.stat()
        start, stop, status = 0, facts.st_size, "200 OK"
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, stop - int(last))
            stop = min(stop, int(last) + 1) if first and last else stop
            status = f"206 .\r\nContent-Range: bytes {start}-{stop - 1}/{facts.st_size}"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Length: {stop - start}\r\nAccept-Ranges: bytes\r\n"
            f'ETag: "{facts.st_mtime_ns:x}-{facts.st_size:x}"\r\n'
            f"Last-Modified: {formatdate(facts.st_mtime, usegmt=True)}\r\n\r\n"
        )
        self._transport.write(head.encode())
        if method == "GET" and stop > start:
            with file.open("rb") as source:
                loop = asyncio.get_running_loop()
                await loop.sendfile(self._transport, source, start, stop - start)


def _listing(folder: Path, bucket: str, query: dict[str, list[str]]) -> bytes:
    """All names at once, by ListObjectsV2's form."""
    prefix, between = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
    root, said, folders = folder / bucket, [], set()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        key = file.relative_to(root).as_posix()
        head, mark, _ = key[len(prefix) :].partition(between or "\0")
        if not key.startswith(prefix):
            continue
        if mark and between:
            folders.add(prefix + head + mark)
            continue
        facts = file.stat()
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(facts.st_mtime))
        said.append(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified>"
            f"<ETag>&quot;{facts.st_mtime_ns:x}-{facts.st_size:x}&quot;</ETag>"
            f"<Size>{facts.st_size}</Size></Contents>"
        )
    shared = "".join(
        f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        for name in sorted(folders)
    )
    return (
        f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(said) + len(folders)}</KeyCount><IsTruncated>false</IsTruncated>"
        f"{''.join(said)}{shared}</ListBucketResult>"
    ).encode()


async def _serve(folder: Path, latency: float) -> None:
    kind = type("Connection", (_Connection,), {"folder": folder, "latency": latency})
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class FarServer:
    """As it is seen from outside."""

    def __init__(self, url: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": url,
            "S3_ENDPOINT_URL": url,  # as MosaicML streaming calls it
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "anyone's",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._host = urlsplit(url).netloc

    def cpu_seconds(self) -> float:
        asking = http.client.HTTPConnection(self._host)
        asking.request("GET", "/cpu")
        seconds = float(asking.getresponse().read())
        asking.close()
        return seconds


@contextmanager
def far_server(folder: Path, *, latency: float) -> Iterator[FarServer]:
    """Starts it in a process of its own."""
    command = [sys.executable, "-m", __name__, str(folder), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield FarServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
