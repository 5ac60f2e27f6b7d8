"""Which Prefect server a command works with, if any, and whether it answers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from reelvec.flows.console.output import complain
from reelvec.flows.console.stopping import Stopped, end_now
from reelvec.storage.errors import ReelvecError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = [
    "ServerError",
    "check_server",
    "ending_with_server",
    "may_be_set",
    "needed_server",
    "open_client",
    "server_url",
]

_SETTING = "PREFECT_API_URL"
_PATIENCE_SECONDS = 5.0
_SECONDS_BETWEEN_LOOKS = 2.0
_REFUSED_SECONDS = 7.0
_SILENT_SECONDS = 60.0


class ServerError(ReelvecError):
    """The Prefect server that is configured does not answer, or not to us."""


def server_url() -> str | None:
    """The API of the server that PREFECT_API_URL names, in the environment or a file of Prefect's.

    Prefect's import takes longer than a small run: it is asked only where something is set.
    """
    if "prefect" not in sys.modules and not may_be_set():
        return None
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


def needed_server(command: str) -> str:
    """The API of the server that a command cannot do without, which answers.

    Raises:
        ServerError: none is named, or it does not answer.
    """
    url = server_url()
    if url is None:
        raise ServerError(
            f"{_SETTING} is not set: {command} needs a running server; start one with"
            f" `prefect server start` and export {_SETTING}=http://127.0.0.1:4200/api"
        )
    check_server(url)
    return url


def may_be_set() -> bool:
    """Whether anything looks as if it set PREFECT_API_URL."""
    if any(name.upper() == _SETTING for name in os.environ):
        return True
    return any(_may_name_one(file) for file in _setting_files())


def check_server(url: str) -> None:
    """Ask the server whether it is well, and for its version, as a run's first call is refused too.

    Raises:
        ServerError: with the remedy, within seconds.
    """
    from prefect.client.base import ServerType

    fault: Exception | None
    try:
        with open_client(url) as client:
            fault = client.api_healthcheck()
            if fault is None and client.server_type is ServerType.SERVER:
                client.api_version()
    except Exception as error:  # noqa: BLE001 - whatever is in its way, a run has it in its way too
        fault = error
    if fault is not None:
        reason = (str(fault) or type(fault).__name__).splitlines()[0]
        words = (
            f"no Prefect server answers at PREFECT_API_URL ({url}): {reason}; start it with"
            " `prefect server start`, mend the address, or unset it: a run needs no server"
        )
        raise ServerError(_without_password(words, url=url)) from fault


@contextmanager
def open_client(url: str) -> Iterator[SyncPrefectClient]:
    """Prefect's own, with whatever it needs for this server, and little patience."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    patience = {"timeout": _PATIENCE_SECONDS}
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings=patience, sync_client=True) as client,
    ):
        yield client


@contextmanager
def ending_with_server(url: str) -> Iterator[None]:
    """End the process, with words, when the server goes away while the block runs.

    Prefect asks a dead server again and again, for minutes, each time it has something to tell.
    """
    over, lost = threading.Event(), threading.Event()
    watch = threading.Thread(
        target=_watch, args=(url, over, lost), name="reelvec-server", daemon=True
    )
    watch.start()
    try:
        yield
    except Stopped:
        if lost.is_set():
            end_now(1)  # Prefect would go on asking at its exit
        raise
    finally:
        over.set()


def _watch(url: str, over: threading.Event, lost: threading.Event) -> None:
    """Ask every few seconds; a server that is slow is given a minute."""
    import httpx

    with open_client(url) as client:
        answered = time.monotonic()
        while not over.wait(_SECONDS_BETWEEN_LOOKS):
            fault = client.api_healthcheck()
            if not isinstance(fault, httpx.TransportError):
                answered = time.monotonic()
            refused = isinstance(fault, httpx.ConnectError)
            if time.monotonic() - answered > (_REFUSED_SECONDS if refused else _SILENT_SECONDS):
                lost.set()
                _end_run(url)


def _end_run(url: str) -> NoReturn:
    words = f"reelvec: the Prefect server at PREFECT_API_URL ({url}) is gone; what is committed is"
    words += " intact, run again to go on, with a server or with PREFECT_API_URL unset"
    complain(_without_password(words, url=url))
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(_PATIENCE_SECONDS)
    end_now(1)


def _without_password(words: str, *, url: str) -> str:
    """Without what stands between // and @ of the address."""
    account = url.partition("//")[2].partition("/")[0].rpartition("@")[0]
    return words.replace(f"{account}@", "") if account else words


def _setting_files() -> list[Path]:
    """Where Prefect looks for settings beside the environment."""
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml"
    here = [Path(name) for name in (".env", "prefect.toml", "pyproject.toml")]
    return [*here, Path(profiles).expanduser()]


def _may_name_one(file: Path) -> bool:
    try:
        words = file.read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return False
    whole = file.name == "prefect.toml"
    return _SETTING.lower() in words or "[tool.prefect" in words or (whole and "url" in words)
