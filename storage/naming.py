"""Which run is meant: by a run's name, digits of its identifier, an alias, or nothing at all.

Nothing means what `current` stands for; where that was never set, the last run that has tables.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.commits.aliases import (
    CURRENT,
    AliasRecord,
    Places,
    alias_in_force,
    alias_names,
)
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import AliasError, MissingArtifactError, StoreError
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord, find_run, newest_first

__all__ = ["ChosenRun", "choose_run", "places_of"]

_MADE_FROM = {"embeddings": "evaluation"} | dict.fromkeys(
    ("corpus", "frames", "audio"), "embeddings"
)
"""Kind -> the kind whose identity names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRun:
    """A run, and how its tables are read."""

    record: RunRecord
    """Its artifacts are those of the alias, where one stands for certain snapshots."""
    as_ended: bool
    """The snapshots that `record` names are read, not the latest ones."""
    alias: AliasRecord | None = None
    """Through which it was found."""


def choose_run(root: Root, name: str | None = None) -> ChosenRun:
    """The run that is meant.

    Args:
        root: the store.
        name: a run's name, an alias, or the first digits of an identifier; None: what is searched.

    Raises:
        MissingArtifactError: there is none; says which there are.
        AliasError: an alias cannot be followed.
    """
    wanted = CURRENT if name is None else str(name)
    alias = alias_in_force(root, wanted) if layout.is_alias(wanted) else None
    if alias is not None:
        return _followed(root, alias)
    try:
        record = find_run(root, name)
    except MissingArtifactError as error:
        tags = [tag for tag in alias_names(root) if _is_set(root, tag)]
        if name is None or not tags:
            raise
        raise MissingArtifactError(f"{error}; tags: {', '.join(tags)}", path=root.uri) from None
    return ChosenRun(record=record, as_ended=name not in (None, record.name))


def places_of(root: Root, record: RunRecord, *, as_ended: bool) -> Places:
    """The snapshots a run is read at, what its tables were made from included.

    Args:
        root: the store.
        record: of the run.
        as_ended: those it names, where they are still there; else the latest ones.

    Raises:
        MissingArtifactError: it has no tables, or they are lost.
    """
    found = {
        kind: (fp, number if as_ended else 0) for kind, (fp, number) in record.artifacts.items()
    }
    for kind, source in _MADE_FROM.items():
        if kind not in found and source in found:
            made = Artifact.find(root, kind=source, fingerprint=found[source][0]).identity
            if kind in made:
                found[kind] = (str(made[kind]), 0)
    if "embeddings" not in found:
        raise MissingArtifactError(
            f"the run ({record.name}) has no tables that could be named; `reelvec run` with the"
            " stage embed makes them",
            path=root.uri,
        )
    return {
        kind: (fingerprint, _number(root, kind, fingerprint, number))
        for kind, (fingerprint, number) in sorted(found.items())
    }


def _number(root: Root, kind: str, fingerprint: str, number: int) -> int:
    artifact = Artifact.find(root, kind=kind, fingerprint=fingerprint)
    if number:
        with suppress(MissingArtifactError):
            return artifact.at(number).number
    latest = artifact.latest()
    if latest is None:
        raise MissingArtifactError(
            f"{artifact.folder} has no snapshot in the store ({root.uri}): the run makes it again",
            path=artifact.folder,
        )
    return latest.number


def _followed(root: Root, alias: AliasRecord) -> ChosenRun:
    """The run an alias stands for."""
    runs = newest_first(root, name=alias.name)
    if alias.follows:
        tables = alias.artifacts["embeddings"][0]
        found = next((run for run in runs if _tables(run) == tables), None)
    else:
        found = next((run for run in runs if run.identifier == alias.run), None)
    if found is None:
        raise AliasError(
            f"({alias.alias}) stands for the run ({alias.name}, {alias.run}), which the store"
            f" ({root.uri}) has no more: `reelvec promote RUN` names another, `reelvec rollback`"
            " goes back; `reelvec runs` lists what there is",
            path=layout.alias(alias.alias, alias.number),
        )
    if alias.follows:
        return ChosenRun(record=found, as_ended=False, alias=alias)
    record = dataclasses.replace(found, artifacts=alias.artifacts)
    return ChosenRun(record=record, as_ended=True, alias=alias)


def _tables(run: RunRecord) -> str:
    return run.artifacts.get("embeddings", ("", 0))[0]


def _is_set(root: Root, alias: str) -> bool:
    with suppress(StoreError):
        return alias_in_force(root, alias) is not None
    return False
