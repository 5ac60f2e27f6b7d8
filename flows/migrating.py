"""A migration to another model: price, build beside, gate, switch. Each step is safe to repeat.

What is searched stays as it is until the last step, which is one record. A migration that was
killed anywhere goes on when it is given again: what is embedded stays embedded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import STAGES
from reelvec.flows.promoting import tell_moved, telling_refusal
from reelvec.flows.refresh import (
    Reembedded,
    RefreshOptions,
    RunStages,
    check_refreshed,
    chosen_runs,
    refresh,
)
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.naming import ChosenRun, choose_run
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import find_run
from reelvec.tasks.artifacts import Session
from reelvec.tasks.migration.price import Price, price_of
from reelvec.tasks.migration.switching import Switched, hold_current, switch
from reelvec.tasks.migration.target import target_config
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.promotion import Moved
from reelvec.tasks.runs.recording import config_of

__all__ = ["Migration", "MigrationOptions", "migrate"]


@dataclass(frozen=True, kw_only=True)
class MigrationOptions:
    """From where to where."""

    weights: str
    """File of the new model, or hf:FOLDER_OR_NAME."""
    run: str | None = None
    """The run whose place the new one takes; None: what is searched."""
    name: str | None = None
    """Of the new run; None: that of the old one and of the weights."""
    plan: bool = False
    """Only say what it costs."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """What a migration came to."""

    store: str
    old: str
    new: str
    """Names of the runs."""
    price: Price
    switched: Switched | None = None
    """None: it was a plan."""

    @property
    def words(self) -> str:
        """In a line."""
        if self.switched is None:
            return f"{self.old} -> {self.new}: {self.price.words}"
        return self.switched.moved.words

    def to_json(self) -> dict[str, Any]:
        """As `reelvec migrate --json` prints it."""
        switched = self.switched
        return {
            "store": self.store,
            "old": self.old,
            "new": self.new,
            "price": self.price.to_json(),
            "moved": switched and switched.moved.to_json(),
            "gate": switched and switched.gate and switched.gate.to_json(),
        }


def migrate(
    store: str, *, options: MigrationOptions, run: RunStages, say: Callable[[str], None]
) -> Migration:
    """Build the tables of another model beside those there are, and search these if they are good.

    Args:
        store: its root.
        options: from where to where.
        run: runs stages of the new run, and of the old one for videos that came meanwhile.
        say: is told each step.

    Raises:
        WeightsError, ConfigError: of the new model.
        RefreshFailedError: either run could not be kept true; `current` stays.
        GateRefusedError: the new tables are not good enough; `current` stays.
        AliasError: somebody else has moved `current` meanwhile.
    """
    root = open_root(store)
    base = choose_run(root, options.run)
    config = target_config(root, base, store=store, weights=options.weights, name=options.name)
    if config.model == config_of(base.record, store=store).model:
        return _is_there(root, base, store=store)
    session = Session(checked_config(config), root=root, plans=options.plan)
    price = price_of(session, base)
    made = Migration(store=store, old=base.record.name, new=config.name, price=price)
    say(f"{made.old} -> {made.new}: {price.words}")
    if options.plan:
        return made
    hold_current(root, base.record.name, why=f"before the migration to {config.name}")
    if not _is_made(root, config):
        run(session, list(STAGES))
    _keep_both_true(store, base, config, run=run, say=say)
    with telling_refusal(root.uri):
        switched = switch(root, config.name, options=config.gate, change="promoted")
    tell_moved(switched.moved)
    say(switched.moved.words)
    return Migration(store=store, old=made.old, new=made.new, price=price, switched=switched)


def _is_there(root: Root, base: ChosenRun, *, store: str) -> Migration:
    """A migration that is asked for once more: the run it starts from has the model already."""
    name = base.record.name
    record = hold_current(root, name, why="it has the model that was asked for")
    moved = Moved(store=root.uri, before=record, after=record)
    price = Price(videos=0, captions=0, decodes=0, seconds=0.0, bytes=0, by="it is there")
    return Migration(
        store=store, old=name, new=name, price=price, switched=Switched(moved=moved, gate=None)
    )


def _is_made(root: Root, config: PipelineConfig) -> bool:
    """Whether the new run has ended once: from then on it is kept true like every other."""
    try:
        return find_run(root, config.name).has_tables
    except MissingArtifactError:
        return False


def _keep_both_true(
    store: str,
    base: ChosenRun,
    config: PipelineConfig,
    *,
    run: RunStages,
    say: Callable[[str], None],
) -> None:
    """What came while the new tables were made is in both before one is held against the other."""
    due = chosen_runs(store, [base.record.name, config.name])
    done = [refresh(one, options=RefreshOptions(), run=run, say=say) for one in due]
    check_refreshed(Reembedded(runs=tuple(done)))
