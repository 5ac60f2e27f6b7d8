"""Which Prefect server a command works with, if any, and whether it answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from reelvec.storage.errors import ReelvecError

__all__ = ["ServerError", "check_server", "server_url"]

_SETTING = "PREFECT_API_URL"
_PATIENCE_SECONDS = 5.0


class ServerError(ReelvecError):
    """The Prefect server that is configured does not answer, or not to us."""


def server_url() -> str | None:
    """The API of the server that PREFECT_API_URL names, in the environment or a file of Prefect's.

    Prefect's import takes longer than a small run: it is asked only where something is set.
    """
    named = any(name.upper() == _SETTING for name in os.environ)
    if not (named or "prefect" in sys.modules or any(map(_may_name_one, _setting_files()))):
        return None
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value()


def check_server(url: str) -> None:
    """Ask the server whether it is well, and for its version, as a run's first call is refused too.

    Raises:
        ServerError: with the remedy, within seconds.
    """
    from prefect.client.base import ServerType
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    patience = {"timeout": _PATIENCE_SECONDS}
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings=patience, sync_client=True) as client,
        ):
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
    return "prefect" in words and ("api_url" in words or "[tool.prefect" in words)
