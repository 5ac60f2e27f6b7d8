"""An S3 server in a process of its own on loopback: moto's, with two gaps of it closed.

moto looks whether an object is there before it stores it, without a lock between, so that two
conditional puts at one moment may both succeed, which a real server excludes: requests that write
are taken one at a time here. And `--ignore-conditions` plays a server that knows no If-None-Match.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "reelvec-test"
PAGE = 50  # names a listing gives at once: 1000 of a real server


def serve(*, ignore_conditions: bool) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    writing = threading.Lock()

    def one_writer(environ, start_response):
        if ignore_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        with writing:
            return list(application(environ, start_response))

    server = make_server("127.0.0.1", 0, one_writer, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def s3_server(*words: str) -> Iterator[str]:
    """Starts it; yields its URL."""
    command = [sys.executable, "-m", "tests.support.s3_server", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
    ) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


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


def make_bucket(url: str, name: str = BUCKET) -> None:
    request = urllib.request.Request(f"{url}/{name}", method="PUT")  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        answer.read()


if __name__ == "__main__":
    serve(ignore_conditions="--ignore-conditions" in sys.argv[1:])
