"""Folders that a person names for what a command writes."""

from __future__ import annotations

import os
from pathlib import Path

from reelvec.configs import ConfigError

__all__ = ["made_folder"]


def made_folder(path: Path, *, option: str) -> Path:
    """`path`, made where it is not there; before any work, so that the work is not lost.

    Raises:
        ConfigError: it cannot be made, or not be written in; `option` is named.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name the system does not take
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"{option} ({path!s:.200}) cannot be made a folder: {why}; name another", key=option
        ) from None
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{option} ({path}) cannot be written; name another folder", key=option)
    return path
