"""Records of runs: one for each run, written once, when it ends."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from reelvec.storage import layout
from reelvec.storage.errors import StoreError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import stamp_format

__all__ = [
    "RunRecord",
    "StageRecord",
    "latest_run",
    "list_runs",
    "run_in_use",
    "write_run",
]

_FORMAT = "%Y%m%dT%H%M%S%f"


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
    status: str = "completed"
    identifier: str = ""

    @property
    def has_tables(self) -> bool:
        """Whether it embedded its videos, or scored such tables."""
        return "embeddings" in self.artifacts or "evaluation" in self.artifacts


def write_run(root: Root, record: RunRecord) -> str:
    """Writes the record; returns its identifier.

    Raises:
        StoreError: `started` is no time with a zone, or the store cannot be written.
    """
    stamp_format(root)
    _sync_artifacts(root, record)
    stamp = _after_the_last(root, _stamp(record.started))
    identifier = record.identifier or secrets.token_hex(4)
    body = dataclasses.asdict(record) | {"identifier": identifier}
    root.put_new(layout.run(stamp, identifier), seal(body))
    return identifier


def list_runs(root: Root, *, name: str | None = None) -> list[RunRecord]:
    """Every run (of that name), oldest start first.

    Raises:
        IntegrityError: a record is damaged.
    """
    records = [_read(root, file) for file in root.list(layout.RUNS)]
    return [record for record in records if name is None or record.name == name]


def latest_run(root: Root, *, name: str | None = None) -> RunRecord | None:
    """The run (of that name) that started last; None where there is none."""
    for file in reversed(root.list(layout.RUNS)):
        record = _read(root, file)
        if name is None or record.name == name:
            return record
    return None


def run_in_use(root: Root, *, name: str | None = None) -> RunRecord | None:
    """The last run (of that name) that has tables; where none has, the last; None: there is none.

    What is searched, looked at and kept true.
    """
    last: RunRecord | None = None
    for file in reversed(root.list(layout.RUNS)):
        record = _read(root, file)
        if name is None or record.name == name:
            if record.has_tables:
                return record
            last = last or record
    return last


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


def _after_the_last(root: Root, stamp: str) -> str:
    """`stamp`, or just after the last run's where that one starts in the future.

    Then the clock has gone back since, and the run of now would not be found to be the latest.
    """
    last = max((name.partition("-")[0] for name in root.list(layout.RUNS)), default="")
    if stamp > last or last <= datetime.now(UTC).strftime(_FORMAT):
        return stamp
    return (datetime.strptime(last, _FORMAT) + timedelta(microseconds=1)).strftime(_FORMAT)


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
