"""Keeping the tables of runs true: for each, what is missing or stale is planned and done.

Nothing is trained: the weights of a run stay. A run that fails stops no other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.flows.promoting import tell_moved, telling_refusal
from reelvec.storage.errors import MissingArtifactError, ReelvecError
from reelvec.storage.naming import choose_run
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, find_run, runs_in_use
from reelvec.tasks.artifacts import Session
from reelvec.tasks.migration.switching import Switched, keep_current
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.plan import PlannedWork
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.price import PricedPlan, price_refresh
from reelvec.tasks.runs.recording import config_of
from reelvec.tasks.runs.settled import choose_stages
from reelvec.tasks.upkeep.compact import Compacted, compact_run

__all__ = [
    "DueRun",
    "Reembedded",
    "RefreshFailedError",
    "RefreshOptions",
    "RefreshedRun",
    "RunStages",
    "check_refreshed",
    "chosen_runs",
    "due_run",
    "refresh",
]

RunStages = Callable[[Session, list[str]], RunSummary]
"""Runs these stages with what the session says."""

_TABLES = ("ingest", "extract", "audio", "embed")
_SCORES = ("evaluate", "report")


@dataclass(frozen=True, kw_only=True)
class DueRun:
    """A run whose tables are to be kept true."""

    name: str
    config: Callable[[], PipelineConfig]
    """Fails where another version wrote it, which is that run's failure alone."""
    stages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RefreshOptions:
    """How runs are kept true."""

    dry_run: bool = False
    """Only say what would be done."""
    accept_losses: bool = False
    """Tables may lose usable rows beyond the config's max_lost_fraction."""
    rehash: bool = False
    """Every video is hashed again, though its file looks as it did."""


@dataclass(frozen=True, kw_only=True)
class RefreshedRun:
    """What was missing or stale in one run, and what made up for it; None: nothing was done."""

    name: str
    price: PricedPlan | None = None
    """What was planned; None: that failed."""
    merged: tuple[Compacted, ...] = ()
    summary: RunSummary | None = None
    switched: Switched | None = None
    """What became of `current`; None: it does not stand for tables of this run, or stays."""
    error: str = ""
    """Why it failed; "": it did not."""

    @property
    def plan(self) -> tuple[PlannedWork, ...]:
        """The work, by stage and reason."""
        return self.price.work if self.price else ()

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.summary is not None and self.summary.changed

    @property
    def words(self) -> str:
        """What came of it, in a few words."""
        if self.error:
            return f"failed: {self.error}"
        if not self.plan:
            return "up to date"
        due = ", ".join(f"{row.count} {row.why}" for row in self.plan)
        return f"done: {due}" if self.summary is not None else f"due: {due}"

    def to_json(self) -> dict[str, Any]:
        """As `reelvec reembed --json` prints it."""
        return {
            "name": self.name,
            "plan": [asdict(row) for row in self.plan],
            "price": None if self.price is None else self.price.to_json(),
            "changed": self.changed,
            "error": self.error,
            "summary": None if self.summary is None else self.summary.to_json(),
            "moved": self.switched and self.switched.moved.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Reembedded:
    """What came of each run."""

    runs: tuple[RefreshedRun, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return any(run.changed for run in self.runs)


class RefreshFailedError(ReelvecError):
    """The tables of some runs could not be kept true; the others are."""


def check_refreshed(result: Reembedded) -> Reembedded:
    """The result itself.

    Raises:
        RefreshFailedError: a run failed; says which, and why.
    """
    failed = [run for run in result.runs if run.error]
    if failed:
        words = "; ".join(f"({run.name}) {run.error}" for run in failed)
        raise RefreshFailedError(
            f"{len(failed)} of {len(result.runs)} runs could not be kept true, and their tables"
            f" stay as they were: {words}"
        )
    return result


def chosen_runs(store: str, names: Sequence[str] = ()) -> list[DueRun]:
    """The runs with these names (or identifiers); no names: all that have tables.

    Raises:
        MissingArtifactError: no run is called so, or has no tables; the store has no run.
    """
    root = open_root(store)
    records = [choose_run(root, name).record for name in names] or runs_in_use(root)
    if not records:
        find_run(root)  # says what there is instead
        raise MissingArtifactError(
            f"no run of the store ({store}) has tables that could be kept true", path=store
        )
    for record in records:
        if not record.has_tables:
            raise MissingArtifactError(
                f"the run ({record.name}) has no tables that could be kept true; `reelvec run`"
                " makes them",
                path=store,
            )
    chosen = {record.identifier: _due(record, store=store) for record in records}
    return list(chosen.values())


def due_run(config: PipelineConfig) -> DueRun:
    """The run of a config that is given whole."""
    return DueRun(name=config.name, config=lambda: config, stages=(*_TABLES, *_SCORES))


def _due(record: RunRecord, *, store: str) -> DueRun:
    scored = "evaluation" in record.artifacts
    return DueRun(
        name=record.name,
        config=lambda: config_of(record, store=store),
        stages=(*_TABLES, *(_SCORES if scored else ())),
    )


def refresh(
    due: DueRun,
    *,
    options: RefreshOptions,
    run: RunStages,
    say: Callable[[str], None],
    show: Callable[[PricedPlan], None] = lambda _: None,
) -> RefreshedRun:
    """Bring the tables of one run up to date.

    Args:
        due: the run.
        options: how.
        run: runs the stages that make up for it.
        say: is told the plan, line by line.
        show: is given the plan with its price, before anything is done.

    Returns:
        The plan and what was done; an error in place of what was raised.
    """
    price: PricedPlan | None = None
    try:
        session = _session(checked_config(due.config()), options=options)
        stages = choose_stages(due.stages, hears=session.config.hears)
        price = price_refresh(session, stages=stages)
        show(price)
        for row in price.work:
            say(f"{due.name}: {row.stage}: {row.count} {row.why}")
        if options.dry_run or not price.work:
            moved = None if options.dry_run else _keep_current(session)
            return RefreshedRun(name=due.name, price=price, switched=moved)
        merged = compact_run(session)
        for one in merged:
            say(f"{due.name}: {one.kind}: {one.parts_before} parts became {one.parts_after}")
        summary = run(session, stages)
        moved = _keep_current(session)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other runs are still due
        known = isinstance(error, ReelvecError)
        words = str(error) if known else f"{type(error).__name__}: {error}"
        say(f"{due.name}: {words}")
        return RefreshedRun(name=due.name, price=price, error=words)
    return RefreshedRun(
        name=due.name, price=price, merged=tuple(merged), summary=summary, switched=moved
    )


def _session(config: PipelineConfig, *, options: RefreshOptions) -> Session:
    return Session(
        config,
        accepts_losses=options.accept_losses,
        rehash=options.rehash,
        refreshes=True,
        plans=options.dry_run,
    )


def _keep_current(session: Session) -> Switched | None:
    """Move `current` on where it stands for tables of this run, and tell of it."""
    with telling_refusal(session.root.uri):
        switched = keep_current(session)
    if switched is not None:
        tell_moved(switched.moved)
    return switched
