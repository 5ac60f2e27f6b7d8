"""From a YAML file or preset name, with dotted overrides, to one validated PipelineConfig.

Strict: an unknown or doubled key is an error that names the file, the key and the nearest valid
one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from reelvec.configs.errors import ConfigError, cut, nearest, rule, shown
from reelvec.configs.presets import preset_path, read_yaml
from reelvec.configs.schema import PipelineConfig
from reelvec.configs.yaml_text import fault_of, parse_yaml

__all__ = ["load", "require_corpus", "set_key", "validate"]


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
    named = str(path) if is_file else f"the preset {source}"
    return validate(read_yaml(path), source=named, overrides=overrides)


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


def require_corpus(config: PipelineConfig, *, source: str) -> PipelineConfig:
    """`config` itself; `source` is where it was read from.

    Raises:
        ConfigError: it names no corpus, and a default one is drawn, nobody's videos.
    """
    if "corpus" not in config.model_fields_set:
        raise ConfigError(
            f"({source}) names no corpus; add e.g. corpus: {{kind: folder, videos: FOLDER}}, or"
            " start from a preset, e.g. preset: folder"
        )
    return config


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"--set ({override}) must be key=value, e.g. --set train.epochs=3", source="--set"
        )
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set ({override}): {fault_of(error)}", source="--set", key=key
        ) from None
    set_key(document, key.strip(), value, source=f"--set ({override})")


def set_key(document: dict[str, Any], key: str, value: Any, *, source: str) -> None:
    """Set a dotted key of plain data, and make the groups it stands in.

    Raises:
        ConfigError: a part of the key is a value; `source` is named.
    """
    *parents, last = key.split(".")
    place = document
    for parent in parents:
        below = place.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(
                f"{source}: ({parent}) is a value, not a group of keys", source=source, key=key
            )
        place = below
    place[last] = value


def _explain(error: ValidationError, *, source: str, overrides: tuple[str, ...]) -> ConfigError:
    """The first problem, as one sentence with file, key, value, rule and nearest valid key."""
    problem = error.errors(include_url=False)[0]
    path, fields = _walk(problem["loc"])
    key = ".".join(path)
    place = (
        "--set" if any(_are_one(o.partition("=")[0].strip(), key) for o in overrides) else source
    )
    if problem["type"] == "extra_forbidden":
        message = f"unknown key ({cut(key)}) in {place}; {nearest(path[-1], fields)}"
    elif problem["type"] == "missing":
        message = f"key ({key}) is missing in {place}; it has no default"
    else:
        message = f"key ({key}) in {place} is ({shown(problem['input'])}): {rule(problem['msg'])}"
    return ConfigError(message, source=place, key=key)


def _are_one(key: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one is a group or list that holds the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


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
        group = _group(field.annotation)
        if group is not None:
            known = group.model_fields
            if part != str(loc[-1]):
                fields = list(known)
    return path, fields


def _group(annotation: Any) -> type[BaseModel] | None:
    """The class of a group of keys, of one that may be null too; None: it is a value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _union_members(annotation: Any) -> dict[str, type[BaseModel]]:
    """{tag: class} of a union told apart by `kind`; empty for anything else."""
    members: dict[str, type[BaseModel]] = {}
    for member in map(_group, get_args(annotation)):
        if member is not None and "kind" in member.model_fields:
            for tag in get_args(member.model_fields["kind"].annotation):
                members[tag] = member
    return members
