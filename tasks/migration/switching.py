"""`current` is moved to new tables behind the gate: by a migration, and by the nightly."""

from __future__ import annotations

from dataclasses import dataclass

from reelvec.configs.upkeep import GateConfig
from reelvec.storage.commits.aliases import CURRENT, AliasRecord, alias_in_force
from reelvec.storage.naming import choose_run
from reelvec.storage.roots import Root
from reelvec.tasks.artifacts import Session
from reelvec.tasks.migration.errors import GateRefusedError
from reelvec.tasks.migration.gate import GateTables, judge
from reelvec.tasks.migration.saving import SavedGate, save_gate
from reelvec.tasks.runs.promotion import Moved, name_tables

__all__ = ["Switched", "hold_current", "keep_current", "switch"]


@dataclass(frozen=True, kw_only=True)
class Switched:
    """What became of `current`, and why."""

    moved: Moved
    gate: SavedGate | None
    """None: the gate was not asked."""


def hold_current(root: Root, run: str, *, why: str) -> AliasRecord:
    """What `current` stands for; where it was never set, it is set to a run, as it is read now.

    From here on a run that is newer is not searched by being newer.

    Raises:
        MissingArtifactError: the run has no tables.
    """
    record = alias_in_force(root, CURRENT)
    if record is not None:
        return record
    return name_tables(root, CURRENT, run, change="promoted", why=why).after


def switch(root: Root, run: str, *, options: GateConfig, change: str) -> Switched:
    """Let `current` stand for the tables of a run, if they pass the gate beside what it stands for.

    Args:
        root: the store.
        run: name of the run.
        options: of the gate.
        change: how `current` comes to it, for the record.

    Raises:
        GateRefusedError: they do not pass; `current` stays, and the report is saved.
        AliasError: somebody else has moved `current` meanwhile, so that the gate held the new
            tables against others.
    """
    standing = alias_in_force(root, CURRENT)
    old = GateTables.of(root, choose_run(root))
    new = GateTables.of(root, choose_run(root, run))
    report = judge(old, new, options=options)
    saved = save_gate(root, report, old=old, new=new)
    if not report.passed:
        raise GateRefusedError(
            f"the tables of ({run}) do not take the place of ({old.name}): {report.words}. Nothing"
            f" has changed; the report is {saved.page}. `reelvec promote {run!r}` searches them all"
            " the same, and the config's `gate` says what is asked of them",
            run=run,
            identity=new.embeddings.artifact.fingerprint,
            why=report.words,
            report=saved.page,
        )
    after = standing.number if standing else None
    why = f"passed the gate: {saved.record}"
    moved = name_tables(root, CURRENT, run, change=change, why=why, after=after)
    return Switched(moved=moved, gate=saved)


def keep_current(session: Session) -> Switched | None:
    """Move `current` on to what a run's tables are now, where it stands for tables of this run.

    One that follows its run is there already; one that stands for other tables stays.

    Raises:
        GateRefusedError, AliasError: as `switch`.
    """
    root, name, gate = session.root, session.config.name, session.config.gate
    standing = alias_in_force(root, CURRENT)
    if standing is None or standing.follows or standing.name != name:
        return None
    latest = choose_run(root, name).record.artifacts.get("embeddings", ("", 0))
    there = standing.artifacts["embeddings"]
    if latest[0] != there[0] or latest[1] <= there[1]:
        return None
    if gate.nightly:
        return switch(root, name, options=gate, change="kept true")
    why = "the gate is off (gate.nightly)"
    after = standing.number
    moved = name_tables(root, CURRENT, name, change="kept true", why=why, after=after)
    return Switched(moved=moved, gate=None)
