"""The runs of a store by name: when they were, what they have, and what they keep on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelvec.storage.at_work import RunAtWork, runs_at_work
from reelvec.storage.commits.aliases import CURRENT, alias_in_force, alias_names
from reelvec.storage.errors import AliasError, MissingArtifactError, StoreError
from reelvec.storage.naming import choose_run
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, drop_runs, find_run
from reelvec.tasks.runs.disk import bytes_of_artifacts
from reelvec.tasks.runs.holdings import ArtifactKey, Holdings

__all__ = ["DroppedRun", "ListedRun", "drop", "list_names"]

_WORDS = {
    "corpus": "videos",
    "frames": "frames",
    "audio": "sound",
    "features": "features",
    "checkpoint": "model",
    "embeddings": "tables",
    "evaluation": "metrics",
}
"""Kind of artifact -> what a run that has it has."""


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """The runs of one name."""

    name: str
    run: str
    """Identifier of the one that is used by that name; "": none has ended yet."""
    runs: int
    """How many have that name."""
    started: str
    ended: str
    """ISO 8601, of the one that is used; "": not known."""
    status: str
    """completed, refreshed (the scheduled flow did the last one), running, killed or dropped."""
    has: tuple[str, ...]
    """videos, frames, model, tables, metrics: what was made."""
    bytes: int
    """What all runs of that name need, on disk."""
    bytes_alone: int
    """What no run of another name needs: gc frees it once these are dropped."""
    in_use: bool
    """Whether it is searched where no run is named."""

    def to_json(self) -> dict[str, Any]:
        """As `reelvec runs --json` prints it."""
        return {slot: getattr(self, slot) for slot in self.__dataclass_fields__} | {
            "has": list(self.has)
        }


def list_names(store: str, *, dropped: bool = False) -> list[ListedRun]:
    """An entry a name, the last used first; of dropped runs only if asked for, and behind.

    Raises:
        IntegrityError: a record, or the identity of an artifact, is damaged.
    """
    root = open_root(store)
    holdings, sizes = Holdings(root), bytes_of_artifacts(root)
    work = {run.name: run for run in runs_at_work(root)}
    used = _searched(root)
    listed = []
    for name, runs in _by_name(holdings.kept).items():
        record = next((run for run in runs[::-1] if run.has_tables), runs[-1])
        listed.append(
            _listed(
                record,
                runs=runs,
                holdings=holdings,
                sizes=sizes,
                status=_status(record, work.pop(name, None)),
                in_use=used == name,
            )
        )
    listed = [_begun(run) for run in work.values()] + listed[::-1]
    if dropped:
        for runs in _by_name(holdings.dropped).values():
            gone = _listed(
                runs[-1], runs=runs, holdings=holdings, sizes=sizes, status="dropped", in_use=False
            )
            listed.append(gone)
    return listed


def _searched(root: Root) -> str:
    """Name of the run that is searched where none is named; "": none is, or it is not known."""
    try:
        return choose_run(root).record.name
    except (MissingArtifactError, AliasError):
        return ""


def _by_name(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """In the order of their last ones."""
    names: dict[str, list[RunRecord]] = {}
    for run in runs:
        names[run.name] = [*names.pop(run.name, []), run]
    return names


def _listed(
    record: RunRecord,
    *,
    runs: Sequence[RunRecord],
    holdings: Holdings,
    sizes: Mapping[ArtifactKey, int],
    status: str,
    in_use: bool,
) -> ListedRun:
    needed, alone = (
        sum(sizes.get(key, 0) for key in keys)
        for keys in (holdings.of(runs), holdings.only_of(runs))
    )
    kinds = {kind for kind, _ in holdings.of([record])}
    return ListedRun(
        name=record.name,
        run=record.identifier,
        runs=len(runs),
        started=record.started,
        ended=record.ended,
        status=status,
        has=tuple(word for kind, word in _WORDS.items() if kind in kinds),
        bytes=needed,
        bytes_alone=alone,
        in_use=in_use,
    )


def _status(record: RunRecord, work: RunAtWork | None) -> str:
    if work is None:
        return record.status
    return "killed" if work.stopped else "running"


def _begun(work: RunAtWork) -> ListedRun:
    """A run that has no record, because it has not ended."""
    return ListedRun(
        name=work.name,
        run="",
        runs=0,
        started=work.started,
        ended="",
        status="killed" if work.stopped else "running",
        has=(),
        bytes=0,
        bytes_alone=0,
        in_use=False,
    )


@dataclass(frozen=True, kw_only=True)
class DroppedRun:
    """What dropping runs came to."""

    name: str
    runs: tuple[str, ...]
    """Identifiers."""
    frees: Mapping[ArtifactKey, int]
    """Artifacts that no other run needs, and the bytes gc will free of each."""
    shared: tuple[ArtifactKey, ...]
    """Artifacts that stay, since other runs need them."""
    in_use: str
    """The run that is searched where none is named from now on; "": none has tables."""

    @property
    def bytes(self) -> int:
        """What gc will free."""
        return sum(self.frees.values())

    def to_json(self) -> dict[str, Any]:
        """As `reelvec drop --json` prints it."""
        return {
            "name": self.name,
            "runs": list(self.runs),
            "bytes": self.bytes,
            "frees": [
                {"kind": kind, "identity": fingerprint, "bytes": size}
                for (kind, fingerprint), size in self.frees.items()
            ],
            "shared": [{"kind": kind, "identity": found} for kind, found in self.shared],
            "in_use": self.in_use,
        }


def drop(store: str, name: str, *, dry_run: bool = False) -> DroppedRun:
    """Mark the runs of a name (or the one of an identifier) as dropped; nothing is deleted.

    Raises:
        MissingArtifactError: no run is called so; says which there are.
        AliasError: an alias stands for one of them.
        StoreError: it is at work; or the store cannot be written.
    """
    root = open_root(store)
    holdings = Holdings(root)
    runs = _named(root, holdings, name)
    _refuse_at_work(root, runs[-1].name)
    _refuse_named(root, runs)
    alone, sizes = holdings.only_of(runs), bytes_of_artifacts(root)
    if not dry_run:
        drop_runs(root, runs)
    gone = {run.identifier for run in runs}
    left = [run for run in holdings.kept if run.identifier not in gone and run.has_tables]
    current = alias_in_force(root, CURRENT)
    return DroppedRun(
        name=runs[-1].name,
        runs=tuple(run.identifier for run in runs),
        frees={key: sizes.get(key, 0) for key in sorted(alone)},
        shared=tuple(sorted(holdings.of(runs) - alone)),
        in_use=current.name if current else left[-1].name if left else "",
    )


def _named(root: Root, holdings: Holdings, name: str) -> list[RunRecord]:
    runs = [run for run in holdings.kept if run.name == name]
    if runs:
        return runs
    try:
        return [find_run(root, name)]
    except MissingArtifactError as error:
        work = [run.name for run in runs_at_work(root)]
        if name in work:
            _refuse_at_work(root, name)
        raise error from None


def _refuse_at_work(root: Root, name: str) -> None:
    for run in runs_at_work(root):
        if run.name == name and not run.stopped:
            raise StoreError(
                f"the run ({name}) is at work since {run.started}; end it first, then drop it",
                path=root.uri,
            )


def _refuse_named(root: Root, runs: Sequence[RunRecord]) -> None:
    """What is searched, or has a name of its own, is not dropped in passing."""
    gone = {run.identifier for run in runs}
    for name in alias_names(root):
        alias = alias_in_force(root, name)
        if alias is not None and alias.run in gone:
            first = "`reelvec promote RUN`" if name == CURRENT else f"`reelvec untag {name}`"
            raise AliasError(
                f"the run ({alias.name}, {alias.run}) is what ({name}) stands for: {first} first,"
                " then drop it",
                path=root.uri,
            )
