"""The presets beside this file: read strictly, and merged over one another.

YAML is read with a safe loader; nothing in a file is ever executed.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from reelvec.configs.errors import ConfigError, nearest

__all__ = [
    "PRESET_DIR",
    "merge",
    "parse_yaml",
    "preset_names",
    "preset_path",
    "read_preset",
    "read_yaml",
]

PRESET_DIR = Path(__file__).parent


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML itself lets the last one win silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"key ({key}) is given twice, again on line {line}; keep one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


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
        f"no preset or file is called ({name}); {nearest(name, preset_names())}"
        " `reelvec presets` lists them, and a path must end in .yaml or .yml",
        source=name,
    )


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


def parse_yaml(text: str) -> Any:
    """The plain data that `text` says.

    Raises:
        yaml.YAMLError: it is no YAML, or a key is given twice.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or its top level is no mapping.
    """
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read ({path}): {error.strerror}; give a preset name or a YAML file",
            source=str(path),
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"({path}) is not valid YAML: {error}", source=str(path)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"({path}) holds a {type(document).__name__}; the top level must be keys and values",
            source=str(path),
        )
    return document
