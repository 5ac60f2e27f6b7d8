"""S3 servers on loopback: moto's in a process of its own, and a real one where it is installed.

moto looks whether an object is there before it stores it, without a lock between, so that two
conditional puts at one moment may both succeed, which a real server excludes: requests that write
are taken one at a time here. Buckets whose names begin so are those of servers that do less:

no-conditions        knows no If-None-Match
unsafe-uploads       knows it for puts alone, as Ceph 16 does
read-only            refuses every write

`--https FOLDER` speaks TLS, with the certificate made there, and takes no checksum trailers.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUCKET = "reelvec-test"
PAGE = 50  # names a listing gives at once: 1000 of a real server


REAL = Path(__file__).parents[3] / "shared/tools/s3-real-server"
REFUSAL = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>'


def serve(*words: str) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    writing = threading.Lock()

    def one_writer(environ, start_response):
        method, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        completes = method == "POST" and "uploadId" in query
        unsafe = completes and bucket.startswith("unsafe-uploads")
        if unsafe or bucket.startswith("no-conditions"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if method in ("GET", "HEAD"):
            return application(environ, start_response)
        if "--https" in words and "HTTP_X_AMZ_TRAILER" in environ:
            start_response("411 Length Required", [])
            return [REFUSAL % b"MissingContentLength"]
        if bucket.startswith("read-only") and key:  # the bucket may be made
            start_response("403 Forbidden", [])
            return [REFUSAL % b"AccessDenied"]
        with writing:
            return list(application(environ, start_response))

    context = None
    if "--https" in words:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(words[words.index("--https") + 1]) / "tls.pem")
    server = make_server("127.0.0.1", 0, one_writer, threaded=True, ssl_context=context)
    print(server.server_port, flush=True)
    server.serve_forever()


def make_certificate(folder: Path) -> Path:
    """Signs itself, for 127.0.0.1; key and certificate in `folder`/tls.pem."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", "tls.pem", "-out", "tls.crt"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    with (folder / "tls.pem").open("a") as both:
        both.write((folder / "tls.crt").read_text())
    return folder / "tls.crt"


@contextmanager
def s3_server(*words: str, page: int = PAGE) -> Iterator[str]:
    """Starts it; yields its URL.

    Args:
        words: options of the process.
        page: names a listing gives at once.
    """
    command = [sys.executable, "-m", "tests.support.s3_server", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(page)},
    ) as process:
        try:
            scheme = "https" if "--https" in words else "http"
            yield f"{scheme}://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def real_server_missing() -> str:
    """Why no real server can be started here, "" where one can."""
    if not REAL.exists():
        return "the script that starts a real server is not here"
    needed = ("radosgw", "ceph-mon", "ceph-osd", "radosgw-admin", "openssl", "curl")
    missing = [name for name in needed if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@contextmanager
def real_server(folder: Path, *, https: bool = False) -> Iterator[dict[str, str]]:
    """Starts Ceph's gateway in `folder`; yields what a client needs to know."""
    variables = os.environ | {"STORE": "memstore", "SIZE": "2G"} | ({"TLS": "1"} if https else {})
    try:
        started = _start_real(folder, variables)
        lines = [line.removeprefix("export ") for line in started.splitlines()]
        yield environment("") | dict(line.split("=", 1) for line in lines)
    finally:
        subprocess.run([str(REAL), "stop", str(folder)], check=True, capture_output=True)


def _start_real(folder: Path, variables: dict[str, str]) -> str:
    """What the script says of its server; a port taken by a neighbour is chosen anew."""
    said = []
    for _ in range(3):
        words = [str(REAL), "start", str(folder), str(_free_ports())]
        started = subprocess.run(words, env=variables, check=False, capture_output=True, text=True)
        if started.returncode == 0:
            return started.stdout
        said.append(started.stderr.strip())
    raise RuntimeError("no real server started: " + "; ".join(said))


def _free_ports(wanted: int = 20) -> int:
    """The first of so many free ones, below those that the system gives to clients."""
    while True:
        first = random.randrange(20_000, 32_000)
        try:
            for port in range(first, first + wanted):
                with socket.socket() as free:
                    free.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def read_only_key(folder: Path) -> dict[str, str]:
    """Credentials for the real server of `folder` that may read and no more."""
    key, secret = "READONLYKEY000000001", "read-only/secret00000000000000000000001"
    admin = ["radosgw-admin", "--conf", str(folder / "ceph.conf"), "-n", "client.rgw"]
    for words in (
        ["subuser", "create", "--access=read"],
        ["key", "create", "--key-type=s3", f"--access-key={key}", f"--secret-key={secret}"],
    ):
        named = ["--uid=reelvec", "--subuser=reelvec:reader"]
        subprocess.run([*admin, *words, *named], check=True, capture_output=True)
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}


@contextmanager
def any_server(name: str, folder: Path) -> Iterator[dict[str, str]]:
    """moto, moto-https, ceph or ceph-https, with BUCKET in it; yields its environment."""
    https = name.endswith("-https")
    if name.startswith("ceph"):
        with real_server(folder, https=https) as found:
            subprocess.run([str(REAL), "bucket", str(folder), BUCKET], check=True)
            yield found
        return
    ca = make_certificate(folder) if https else None
    with s3_server(*(("--https", str(folder)) if https else ())) as url:
        make_bucket(url, ca=ca)
        yield environment(url) | ({"AWS_CA_BUNDLE": str(ca)} if ca else {})


def environment(url: str) -> dict[str, str]:
    """What a client needs to know."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def client() -> Any:
    """Of boto3, with the credentials that the environment names now.

    Its default session keeps the first ones, and one process tests against several servers.
    """
    import boto3

    return boto3.session.Session().client("s3")


def make_bucket(url: str, name: str = BUCKET, *, ca: Path | None = None) -> None:
    request = urllib.request.Request(f"{url}/{name}", method="PUT")  # noqa: S310
    context = ssl.create_default_context(cafile=ca) if ca else None
    with urllib.request.urlopen(request, context=context) as answer:  # noqa: S310
        answer.read()


if __name__ == "__main__":
    serve(*sys.argv[1:])
