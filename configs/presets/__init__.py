"""The presets beside this file: read strictly, and merged over one another."""

from __future__ import annotations

import difflib
import errno
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from reelvec.configs.errors import ConfigError, cut
from reelvec.configs.yaml_text import TEXT_BYTES, fault_of, parse_yaml

__all__ = [
    "PRESET_DIR",
    "merge",
    "preset_names",
    "preset_path",
    "read_preset",
    "read_yaml",
]

PRESET_DIR = Path(__file__).parent


def preset_names() -> list[str]:
    """Names `load` accepts, sorted: the files below configs/presets, folders kept in the name."""
    files = PRESET_DIR.rglob("*.yaml")
    return sorted(path.relative_to(PRESET_DIR).with_suffix("").as_posix() for path in files)


def preset_path(name: str) -> Path:
    """The file of preset `name`.

    Raises:
        ConfigError: no such preset; the message names the nearest.
    """
    path = PRESET_DIR / f"{name}.yaml"
    if name in preset_names():
        return path
    raise ConfigError(
        f"no preset or file is called ({name}); {_near(name)}`reelvec presets` lists them, and a"
        " path must end in .yaml or .yml",
        source=name,
    )


def _near(name: str) -> str:
    """The preset that may be meant, if one is near: all of them are too many for an error."""
    close = difflib.get_close_matches(cut(name), preset_names(), n=1)
    return f"did you mean ({close[0]})? " if close else ""


def read_preset(name: str) -> dict[str, Any]:
    """What preset `name` says, as plain data, the presets it starts from merged in."""
    document = read_yaml(preset_path(name))
    if document.get("preset"):
        return merge(read_preset(str(document["preset"])), document)
    return document


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, group by group; a group of another `kind` replaces the whole."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if (
            isinstance(below, dict)
            and isinstance(value, dict)
            and value.get("kind", below.get("kind")) == below.get("kind")
        ):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or its top level is no mapping.
    """
    try:
        document = parse_yaml(_text(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"({path}) is not valid YAML: {fault_of(error)}", source=str(path)
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        words = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot read ({path}): {words}; give a preset name or a YAML file",
            source=str(path),
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"({path}) holds a {type(document).__name__}; the top level must be keys and values",
            source=str(path),
        )
    return document


def _text(path: Path) -> str:
    """The start of a regular file, one byte more than may be parsed; a pipe is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(TEXT_BYTES + 1).decode("utf-8-sig")
