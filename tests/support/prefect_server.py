"""A Prefect server of a test's own, on a free port of loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import httpx


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def prefect_server(folder, *, environment=None):
    """Started with its database and log in `folder`, ended afterwards; yields its API address.

    Raises:
        RuntimeError: it ends, or does not answer within two minutes.
    """
    port = free_port()
    log = folder / "server.log"
    environment = {**(environment or os.environ), "PREFECT_HOME": str(folder / "prefect")}
    environment.pop("PREFECT_API_URL", None)
    environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_for(url, server=server, log=log)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(url, *, server, log):
    for _ in range(240):
        if server.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the Prefect server at {url} did not start: {log.read_text()}")
