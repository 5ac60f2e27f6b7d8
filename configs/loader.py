"""From a YAML file or preset name, with dotted overrides, to one validated PipelineConfig.

Strict: an unknown or doubled key is an error that names the file, the key and the nearest valid
one. YAML is read with a safe loader; nothing in a file is ever executed.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from reelvec.configs.schema import PipelineConfig, merge
from reelvec.errors import ReelvecError

__all__ = [
    "PRESET_DIR",
    "ConfigError",
    "load",
    "preset_names",
    "preset_path",
    "read_preset",
    "validate",
]

PRESET_DIR = Path(__file__).parent / "presets"


class ConfigError(ReelvecError, ValueError):
    """A configuration cannot be used; `source` names the file or option, `key` the dotted key."""

    def __init__(self, message: str, *, source: str = "", key: str = "") -> None:
        super().__init__(message)
        self.source = source
        self.key = key


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
        f"no preset or file is called ({name}); {_nearest(name, preset_names())}"
        " `reelvec presets` lists them, and a path must end in .yaml or .yml",
        source=name,
    )


def read_preset(name: str) -> dict[str, Any]:
    """What preset `name` says, as plain data, the presets it starts from merged in."""
    document = _read_yaml(preset_path(name))
    if document.get("preset"):
        return merge(read_preset(str(document["preset"])), document)
    return document


def load(source: str | Path, *, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Read a preset name or YAML file and apply overrides such as ``train.epochs=3``.

    Args:
        source: a preset name (`demo`) or a path that ends in .yaml or .yml.
        overrides: ``dotted.key=value`` strings; the value is read as YAML.

    Raises:
        ConfigError: unreadable file, unknown key or wrong value, with file, key and remedy.
    """
    is_file = str(source).endswith((".yaml", ".yml"))
    path = Path(source) if is_file else preset_path(str(source))
    return validate(_read_yaml(path), source=str(path), overrides=overrides)


def validate(
    document: Mapping[str, Any], *, source: str, overrides: Iterable[str] = ()
) -> PipelineConfig:
    """Plain data with overrides as a config; `source` is named in complaints.

    Raises:
        ConfigError: unknown key or wrong value.
    """
    overrides = tuple(overrides)
    changed = copy.deepcopy(dict(document))
    for override in overrides:
        _apply(changed, override)
    try:
        return PipelineConfig.model_validate(changed)
    except ValidationError as error:
        raise _explain(error, source=source, overrides=overrides) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506
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


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set ({override}) must be key=value, e.g. --set train.epochs=3", source="--set"
        )
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigError(f"--set ({override}): {error}", source="--set", key=key) from None
    *parents, last = key.strip().split(".")
    place = document
    for parent in parents:
        below = place.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(
                f"--set ({override}): ({parent}) is a value, not a group of keys",
                source="--set",
                key=key,
            )
        place = below
    place[last] = value


def _explain(error: ValidationError, *, source: str, overrides: tuple[str, ...]) -> ConfigError:
    """The first problem, as one sentence with file, key, value, rule and nearest valid key."""
    problem = error.errors(include_url=False)[0]
    path, fields = _walk(problem["loc"])
    key = ".".join(path)
    place = "--set" if any(o.partition("=")[0].strip() == key for o in overrides) else source
    if problem["type"] == "extra_forbidden":
        message = f"unknown key ({key}) in {place}; {_nearest(path[-1], fields)}"
    elif problem["type"] == "missing":
        message = f"key ({key}) is missing in {place}; it has no default"
    else:
        message = f"key ({key}) in {place} is ({problem['input']!r}): {problem['msg']}"
    return ConfigError(message, source=place, key=key)


def _walk(loc: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The dotted path a person wrote (union tags left out) and the valid keys at its parent."""
    path: list[str] = []
    fields: list[str] = list(PipelineConfig.model_fields)
    known: Mapping[str, Any] = PipelineConfig.model_fields
    members: dict[str, type[BaseModel]] = {}
    for part in map(str, loc):
        if part in members:  # the tag of a union, e.g. `folder`: chosen by `kind`
            known, members = members[part].model_fields, {}
            fields = list(known)
            continue
        path.append(part)
        field = known.get(part)
        if field is None:
            break
        members = _union_members(field.annotation)
        if members:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            known = field.annotation.model_fields
            if part != str(loc[-1]):
                fields = list(known)
    return path, fields


def _union_members(annotation: Any) -> dict[str, type[BaseModel]]:
    """{tag: class} of a union told apart by `kind`; empty for anything else."""
    members: dict[str, type[BaseModel]] = {}
    for member in get_args(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            for tag in get_args(member.model_fields["kind"].annotation):
                members[tag] = member
    return members


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean ({close[0]})?"
    return f"valid: {', '.join(names)}."
