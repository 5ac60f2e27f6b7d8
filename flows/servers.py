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
    """Ask the server for its version, as any run's first call would be refused or not answered.

    Raises:
        ServerError: with the remedy, within seconds.
    """
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(httpx_settings={"timeout": _PATIENCE_SECONDS}, sync_client=True) as client:
            client.api_version()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ServerError(
            f"no Prefect server answers at PREFECT_API_URL ({url}): {_reason(error)}; start it with"
            " `prefect server start`, mend the address, or unset it: a run needs no server"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


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
