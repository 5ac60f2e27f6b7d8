"""Records of runs: one for each run, written once, when it ends; and of runs that were dropped.

A dropped run keeps its record, and another one says that it is dropped: nothing is renamed or
rewritten, so that a crash loses nothing. Whoever looks for runs passes over it; `gc` frees what no
other run needs.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from reelvec.storage import layout
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import stamp_format

__all__ = [
    "COMPLETED",
    "REFRESHED",
    "DropRecord",
    "RunRecord",
    "StageRecord",
    "drop_runs",
    "dropped_runs",
    "drops",
    "find_run",
    "latest_run",
    "list_runs",
    "newest_first",
    "run_in_use",
    "runs_in_use",
    "write_run",
]

_FORMAT = "%Y%m%dT%H%M%S%f"
_FEWEST_DIGITS = 6

COMPLETED = "completed"
"""Status of a run that somebody asked for."""
REFRESHED = "refreshed"
"""Status of a run that kept the tables of another one true (the scheduled flow's)."""


class StageRecord(TypedDict):
    """One stage of a run: its name, how long it took, and what it counted."""

    name: str
    seconds: float
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: its configuration, what it read and wrote, and what each stage cost.

    `artifacts` maps a kind to (fingerprint, snapshot number); `started` and `ended` are ISO 8601
    with a time zone; `identifier` is given by write_run.
    """

    name: str
    config: Mapping[str, Any]
    artifacts: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    stages: Sequence[StageRecord] = ()
    started: str = ""
    ended: str = ""
    status: str = COMPLETED
    identifier: str = ""

    @property
    def has_tables(self) -> bool:
        """Whether it embedded its videos, or scored such tables."""
        return "embeddings" in self.artifacts or "evaluation" in self.artifacts


def write_run(root: Root, record: RunRecord, *, beside: str = "") -> str:
    """Writes the record; returns its identifier.

    Args:
        root: the store.
        record: the run.
        beside: identifier of the run whose tables it keeps true: it comes right behind that one,
            and not behind all, so that a night does not choose which run is the last.

    Raises:
        StoreError: `started` is no time with a zone, or the store cannot be written.
    """
    stamp_format(root)
    _sync_artifacts(root, record)
    files = root.list(layout.RUNS)
    place = next((file for file in files if beside and _identifier(file) == beside), None)
    if place is None:
        stamp = _after_the_last(files, _stamp(record.started))
    else:
        stamp = _just_after(place.partition("-")[0])
    identifier = record.identifier or secrets.token_hex(4)
    body = dataclasses.asdict(record) | {"identifier": identifier}
    root.put_new(layout.run(stamp, identifier), seal(body))
    return identifier


def list_runs(root: Root, *, name: str | None = None, dropped: bool = False) -> list[RunRecord]:
    """Every run (of that name), oldest start first; those that were dropped only if asked for.

    A run that kept another one's tables true stands behind that one.

    Raises:
        IntegrityError: a record is damaged.
    """
    gone = frozenset() if dropped else dropped_runs(root)
    records = [
        _read(root, file) for file in root.list(layout.RUNS) if _identifier(file) not in gone
    ]
    return [record for record in records if name is None or record.name == name]


def newest_first(root: Root, *, name: str | None = None) -> Iterator[RunRecord]:
    """The runs (of that name) that were not dropped, the last start first, read as they come."""
    gone = dropped_runs(root)
    for file in reversed(root.list(layout.RUNS)):
        if _identifier(file) not in gone:
            record = _read(root, file)
            if name is None or record.name == name:
                yield record


def latest_run(root: Root, *, name: str | None = None) -> RunRecord | None:
    """The run (of that name) that started last; None where there is none."""
    return next(newest_first(root, name=name), None)


def run_in_use(root: Root, *, name: str | None = None) -> RunRecord | None:
    """The last run (of that name) that has tables; where none has, the last; None: there is none.

    What is searched and looked at.
    """
    last: RunRecord | None = None
    for record in newest_first(root, name=name):
        if record.has_tables:
            return record
        last = last or record
    return last


def runs_in_use(root: Root) -> list[RunRecord]:
    """For each name the last run that has tables, in the order of their starts."""
    records: dict[str, RunRecord] = {}
    for record in newest_first(root):
        if record.has_tables:
            records.setdefault(record.name, record)
    return list(records.values())[::-1]


def find_run(root: Root, name: str | None = None) -> RunRecord:
    """The run in use (of that name), or the one whose identifier starts with these digits.

    Raises:
        MissingArtifactError: there is none; says which there are.
    """
    record = run_in_use(root, name=name)
    if record is not None:
        return record
    kept = list_runs(root)
    wanted = str(name).strip().lower()
    named = [run for run in kept if run.identifier.startswith(wanted)]
    if len(named) == 1 and len(wanted) >= _FEWEST_DIGITS:
        return named[0]
    raise MissingArtifactError(_why_no_run(root, name, kept=kept), path=root.uri)


def _why_no_run(root: Root, name: str | None, *, kept: Sequence[RunRecord]) -> str:
    there = ", ".join(dict.fromkeys(run.name for run in kept)) or "none"
    gone = {run.name for run in list_runs(root, dropped=True)} - {run.name for run in kept}
    if name in gone:
        return f"the run ({name}) was dropped from the store ({root.uri}); there are: {there}"
    if kept:
        return f"no run is called ({name}) in the store ({root.uri}); there are: {there}"
    dropped = " (all were dropped)" if gone else ""
    return (
        f"no run in the store ({root.uri}){dropped}; `reelvec demo` or `reelvec embed VIDEOS` makes"
        " one, and --store names another store"
    )


def drop_runs(root: Root, records: Sequence[RunRecord]) -> None:
    """Marks these runs as dropped, all by one record; what they made stays until gc.

    Raises:
        StoreError: the store cannot be written; none of them is dropped then.
    """
    stamp_format(root)
    now = datetime.now(UTC)
    body = {
        "runs": [record.identifier for record in records],
        "names": sorted({record.name for record in records}),
        "dropped": now.isoformat(),
    }
    root.put_new(layout.drop(now.strftime(_FORMAT), secrets.token_hex(4)), seal(body))


@dataclass(frozen=True, slots=True)
class DropRecord:
    """Runs that were dropped together; `dropped` is ISO 8601."""

    runs: Sequence[str]
    """Identifiers."""
    names: Sequence[str]
    dropped: str


def drops(root: Root) -> list[DropRecord]:
    """Every record of dropped runs, oldest first.

    Raises:
        IntegrityError: one is damaged.
    """
    paths = [f"{layout.DROPS}/{file}" for file in root.list(layout.DROPS)]
    return [DropRecord(**unseal(root.read(path), path=path)) for path in paths]


def dropped_runs(root: Root) -> frozenset[str]:
    """Identifiers of the runs that were dropped.

    Raises:
        IntegrityError: a record of dropped runs is damaged.
    """
    return frozenset(run for record in drops(root) for run in record.runs)


def _identifier(file: str) -> str:
    """Of the run whose record's file is called so."""
    return file.partition("-")[2].removesuffix(".json")


def _sync_artifacts(root: Root, record: RunRecord) -> None:
    """Makes the snapshots that the record names durable, unless the run before named them too.

    One that was found, and not published by this run, may be that of a writer who was killed.
    """
    try:
        last = latest_run(root)
    except StoreError:
        last = None  # its record is damaged, which verify says
    named = set(last.artifacts.items()) if last else set()
    new = [(kind, *place) for kind, place in record.artifacts.items() if (kind, place) not in named]
    root.sync(*(layout.snapshot(f"{kind}/{fingerprint}", n) for kind, fingerprint, n in new))


def _read(root: Root, file: str) -> RunRecord:
    path = f"{layout.RUNS}/{file}"
    body = unseal(root.read(path), path=path)
    artifacts = {kind: (place[0], place[1]) for kind, place in body.pop("artifacts").items()}
    return RunRecord(**body, artifacts=artifacts)


def _after_the_last(files: Sequence[str], stamp: str) -> str:
    """`stamp`, or just after the last run's where that one starts in the future.

    Then the clock has gone back since, and the run of now would not be found to be the latest.
    """
    last = max((name.partition("-")[0] for name in files), default="")
    if stamp > last or last <= datetime.now(UTC).strftime(_FORMAT):
        return stamp
    return _just_after(last)


def _just_after(stamp: str) -> str:
    return (datetime.strptime(stamp, _FORMAT) + timedelta(microseconds=1)).strftime(_FORMAT)


def _stamp(started: str) -> str:
    """The start as sortable UTC digits, e.g. 20260102T030405123456."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise StoreError(
            f"a run's start must be ISO 8601 with a time zone, not {started!r}: use "
            "datetime.now(UTC).isoformat()"
        )
    return moment.astimezone(UTC).strftime(_FORMAT)
