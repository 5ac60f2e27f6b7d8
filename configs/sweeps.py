"""A sweep: one configuration with some keys varied, as a grid or at random, each way a run."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from reelvec.configs.corpora import Options
from reelvec.configs.errors import ConfigError, cut, nearest, rule, shown
from reelvec.configs.loader import require_corpus, set_key, validate
from reelvec.configs.presets import read_yaml
from reelvec.configs.schema import PipelineConfig

__all__ = ["Sweep", "SweepRun", "load_sweep"]

_MOST_RUNS = 1000
_LABEL = 80
_OURS = ("name", "store")
"""What the sweep says itself: the name of each run, and the store all share."""

Choices = Annotated[list[Any], Field(min_length=1)]


class Range(Options):
    """Numbers from `low` to `high`."""

    low: float
    """The least."""
    high: float
    """The greatest."""
    scale: Literal["linear", "log"] = "linear"
    """log: as often between 1e-5 and 1e-4 as between 1e-4 and 1e-3."""
    whole: bool = False
    """Whole numbers alone, both ends among them."""

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"scale log needs low above 0, not {self.low:g}")
        return self

    def draw(self, chance: random.Random) -> float | int:
        """A number; three digits of it, so that a run's name says it whole."""
        low, high = self.low, self.high
        if self.whole:
            low, high = low - 0.5, high + 0.5
        if self.scale == "log":
            number = math.exp(chance.uniform(math.log(max(low, 1e-300)), math.log(high)))
        else:
            number = chance.uniform(low, high)
        if self.whole:
            return min(max(round(number), math.ceil(self.low)), math.floor(self.high))
        return min(max(float(f"{number:.3g}"), self.low), self.high)


class RandomDraws(Options):
    """Runs whose values are drawn, each by itself."""

    runs: int = Field(ge=1, le=_MOST_RUNS)
    """How many draws; draws that agree are one run."""
    seed: int = Field(default=0, ge=0)
    """The same seed draws the same runs, and more `runs` only adds some."""
    keys: dict[str, Range | Choices] = Field(min_length=1)
    """Dotted key -> choices, or a range {low, high, scale, whole}."""


class SweepConfig(Options):
    """A sweep's file: what all runs share, and what is varied."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[\w .-]+$")
    """Its runs are called NAME/key=value,…"""
    run: dict[str, Any]
    """A run's configuration, as `reelvec run` takes it; what is varied wins."""
    grid: dict[str, Choices] = Field(default_factory=dict)
    """Dotted key -> its values; every combination is a run."""
    random: RandomDraws | None = None
    """Instead of a grid."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.grid) == (self.random is not None):
            raise ValueError("give grid: or random:, one of them")
        for key in self.grid or (self.random.keys if self.random else ()):
            if key in _OURS:
                raise ValueError(f"({key}) cannot be varied; it is the sweep's own")
        if math.prod(map(len, self.grid.values())) > _MOST_RUNS:
            raise ValueError(f"the grid has more than {_MOST_RUNS:,} combinations")
        return self


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    label: str
    """Its values in a few words, unlike those of the others."""
    values: Mapping[str, Any]
    """Dotted key -> value."""
    config: PipelineConfig
    """Whole; its name is the sweep's and the label."""


@dataclass(frozen=True)
class Sweep:
    """A sweep, every run of it checked."""

    name: str
    keys: tuple[str, ...]
    runs: tuple[SweepRun, ...]


def load_sweep(path: Path, *, store: str | None) -> Sweep:
    """Read a sweep's file; the same file gives the same runs under the same names.

    Args:
        path: of the file.
        store: of all runs; None: the one that the file names, or the usual one.

    Raises:
        ConfigError: unreadable, an unknown key, or a run that is no valid configuration.
    """
    document = read_yaml(path)
    try:
        config = SweepConfig.model_validate(document)
    except ValidationError as error:
        raise _explained(error, path) from None
    keys = tuple(config.grid or (config.random.keys if config.random else ()))
    ways = list(_grid(config.grid) if config.grid else _drawn(config.random))
    runs = []
    for values in ways:
        label = _label(values)
        changed = copy.deepcopy(config.run)
        source = f"{path}, run {label}"
        for key, value in values.items():
            set_key(changed, key, copy.deepcopy(value), source=source)
        changed |= {"name": f"{config.name}/{label}"} | ({"store": store} if store else {})
        checked = require_corpus(validate(changed, source=source), source=str(path))
        runs.append(SweepRun(label, values, checked))
    twice = [label for label, count in Counter(run.label for run in runs).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{path} has the run ({twice[0]}) twice; give each value once", key="grid"
        )
    return Sweep(config.name, keys, tuple(runs))


def _grid(grid: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _drawn(options: RandomDraws | None) -> Iterator[dict[str, Any]]:
    """Each draw once; what a key draws does not depend on the others."""
    if options is None:
        return
    seen = set()
    for number in range(options.runs):
        values = {}
        for key, given in options.keys.items():
            chance = random.Random(f"{options.seed}/{number}/{key}")
            values[key] = given.draw(chance) if isinstance(given, Range) else chance.choice(given)
        mark = json.dumps(values, default=str)
        if mark not in seen:
            seen.add(mark)
            yield values


def _label(values: Mapping[str, Any]) -> str:
    """key=value,…: the last part of each key where no other ends so."""
    ends = Counter(key.rpartition(".")[2] for key in values)
    words = []
    for key, value in values.items():
        end = key.rpartition(".")[2]
        words.append(f"{end if ends[end] == 1 else key}={_word(value)}")
    label = ",".join(words)
    if len(label) <= _LABEL:
        return label
    return f"{label[: _LABEL - 9]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, separators=(",", ":"), default=str)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else text


def _explained(error: ValidationError, path: Path) -> ConfigError:
    problem = error.errors(include_url=False)[0]
    places = (str(part) for part in problem["loc"])  # tags of unions are no keys
    key = ".".join(part for part in places if "[" not in part)
    if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
        known = nearest(str(problem["loc"][0]), SweepConfig.model_fields)
        return ConfigError(f"unknown key ({cut(key)}) in {path}; {known}", key=key)
    words = rule(problem["msg"])
    if problem["type"] == "missing":
        return ConfigError(
            f"key ({key}) is missing in {path}; a sweep has name, run, and grid or random", key=key
        )
    where = f"key ({cut(key)}) in {path} is ({shown(problem['input'])})" if key else str(path)
    return ConfigError(f"{where}: {words}", key=key)
