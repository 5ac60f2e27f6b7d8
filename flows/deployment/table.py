"""The deployments there are: one row each, from which `reelvec deploy` writes them on a server.

A new flow needs a form in `forms`, a function in `entrypoints`, and a row here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reelvec.configs import ConfigError, load
from reelvec.configs.loader import require_corpus
from reelvec.configs.schema import STAGES
from reelvec.flows.deployment.entrypoints import (
    FormFlow,
    collect_garbage,
    compact_parts,
    migrate_tables,
    reembed_store,
    retry_failures,
    run_pipeline,
    run_stage,
    verify_parts,
)

__all__ = ["NIGHTLY", "Deployment", "corpus_files", "deployments", "of_corpora"]

GPU, CPU = "gpu", "cpu"
"""Queues of the work pool: for what computes with a model, and for what only reads and writes."""

NIGHTLY = "nightly"
"""Lasting name of the schedules that keep tables true."""

_NIGHT = "0 3 * * *"
_CORPUS_NIGHT = "0 1 * * *"
_NO_NAME = re.compile(r"[/%&><]")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A flow under a name of its own, and what its form opens with."""

    flow: FormFlow[Any]
    name: str
    words: str
    """What it does, for a person."""
    queue: str
    """GPU or CPU."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cron: str = ""
    """When it runs by itself, five fields; "": never."""
    slug: str = ""
    """The schedule's lasting name."""

    @property
    def full_name(self) -> str:
        """As Prefect calls it: flow/name."""
        return f"{self.flow.name}/{self.name}"

    @property
    def entrypoint(self) -> str:
        """A dotted path: the package is installed where the worker is, no copy of the code."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"

    @property
    def tags(self) -> list[str]:
        """For the UI's filters."""
        return ["reelvec", self.queue, *(["scheduled"] if self.cron else [])]


_STAGE_WORDS = {
    "ingest": "Lists, hashes and probes the videos of a run.",
    "extract": "Decodes the frames that are missing.",
    "audio": "Decodes the sound that is missing, where the model hears.",
    "train": "Trains a run's model, or goes on from its last checkpoint.",
    "embed": "Writes the rows of both tables that are missing or stale.",
    "evaluate": "Scores the tables of a run, and draws its report; reads no video.",
    "report": "Draws the report of a run that is scored.",
}

_DEPLOYMENTS = (
    Deployment(
        flow=run_pipeline,
        name="demo",
        words="The main job on a synthetic corpus, from frames to report.",
        queue=GPU,
        parameters={"preset": "demo"},
    ),
    Deployment(
        flow=run_pipeline,
        name="folder",
        words="Your own videos, in videos/ with captions.csv; see configs/presets/folder.yaml.",
        queue=GPU,
        parameters={"preset": "folder"},
    ),
    *(
        Deployment(
            flow=run_stage,
            name=stage,
            words=_STAGE_WORDS[stage],
            queue=GPU if stage in ("train", "embed") else CPU,
            parameters={"stage": stage},
        )
        for stage in STAGES
    ),
    Deployment(
        flow=reembed_store,
        name="nightly",
        words="Brings the tables of the store's runs up to date with their videos; trains nothing.",
        queue=GPU,
        cron=_NIGHT,
        slug=NIGHTLY,
    ),
    Deployment(
        flow=retry_failures,
        name="failures",
        words="Tries a run's failed videos again, then brings its tables up to date.",
        queue=GPU,
    ),
    Deployment(
        flow=migrate_tables,
        name="store",
        words="Builds the tables of another model beside those there are; searches them if good.",
        queue=GPU,
    ),
    Deployment(
        flow=verify_parts,
        name="store",
        words="Reads every part and compares it with its receipt; damage fails the run.",
        queue=CPU,
        cron="0 5 * * 0",
        slug="weekly",
    ),
    Deployment(
        flow=collect_garbage,
        name="store",
        words="Removes what no kept snapshot reaches, and what only dropped runs had.",
        queue=CPU,
        cron="0 7 * * 0",
        slug="weekly",
    ),
    Deployment(
        flow=compact_parts,
        name="store",
        words="Merges small parts into large ones; nights do it too, bit by bit.",
        queue=CPU,
    ),
)


def deployments(*, store: str) -> list[Deployment]:
    """Every deployment, all on one store: a night keeps true what the others made."""
    return [replace(one, parameters={**one.parameters, "store": store}) for one in _DEPLOYMENTS]


def of_corpora(files: Iterable[Path], *, store: str | None) -> list[Deployment]:
    """For each file, as `reelvec run FILE` takes it, a run of it and a nightly of its own.

    Args:
        files: of the corpora; the worker must find them under the same paths.
        store: root of the store; None: each file's own.

    Raises:
        ConfigError: a file is no such configuration, or two have one name.
    """
    found = [row for file in files for row in _of_corpus(file, store=store)]
    names = Counter(row.full_name for row in (*_DEPLOYMENTS, *found))
    for name in (name for name, count in names.items() if count > 1):
        raise ConfigError(
            f"two deployments would be called ({name}); give the corpus' file another `name`",
            key="name",
        )
    return found


def _of_corpus(file: Path, *, store: str | None) -> list[Deployment]:
    source = str(file)
    overrides = [f"store={store}"] if store else []
    config = require_corpus(load(file, overrides=overrides), source=source)
    name = config.name
    if not name.strip() or _NO_NAME.search(name):
        raise ConfigError(
            f"key (name) in {source} is ({name}): a deployment is called so, and has a name without"
            " / % & < >",
            source=source,
            key="name",
        )
    path = str(file.expanduser().absolute())
    run = Deployment(
        flow=run_pipeline,
        name=name,
        words=f"The pipeline on the corpus {name}, as {path} says.",
        queue=GPU,
        parameters={"preset": config.preset or "folder", "config_file": path}
        | ({"store": store} if store else {}),
    )
    night = Deployment(
        flow=reembed_store,
        name=name,
        words=f"Brings the tables of the run {name} up to date with its videos; trains nothing.",
        queue=GPU,
        parameters={"store": config.store, "runs": [name]},
        cron=_CORPUS_NIGHT,
        slug=NIGHTLY,
    )
    return [run, night]


def corpus_files(given: Sequence[Path], folder: Path | None) -> list[Path]:
    """The files that were given, and those of a folder (*.yaml, *.yml), by name.

    Raises:
        ConfigError: the folder is none, or holds no such file.
    """
    if folder is None:
        return list(given)
    found = sorted(path for path in _listed(folder) if path.suffix in (".yaml", ".yml"))
    if not found:
        raise ConfigError(f"({folder}) holds no .yaml file; give the folder of the corpora's files")
    return [*given, *found]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"({folder}) cannot be listed: {error.strerror}; give the folder of the corpora's files"
        ) from None
