"""Records of a store's runs: the config, the artifacts' snapshots, the cost of each stage.

`retry`, `evaluate` and the scheduled flow take a run's config from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from reelvec.configs import PipelineConfig
from reelvec.configs.loader import validate
from reelvec.storage.naming import choose_run
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import (
    COMPLETED,
    REFRESHED,
    RunRecord,
    StageRecord,
    latest_run,
    newest_first,
    write_run,
)
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.receipts import StageReceipt

__all__ = ["config_of", "is_last_run", "last_config", "record_run"]

#: keys that say how a run is worked on, not what it gives
_HOW = {"store", "runner", "workers", "dask_address", "compaction", "max_lost_fraction", "gate"}


def record_run(session: Session, stages: Sequence[StageReceipt], *, started: datetime) -> None:
    """Write the run's record, unless it did nothing the last record does not say already.

    Where no stage has done its work yet (a report is drawn by itself) there is nothing to record.
    One that refreshed the tables of a run stands behind that run, not behind all.
    """
    config, root = session.config, session.root
    artifacts = {stage.made.kind: (stage.made.fingerprint, stage.made.number) for stage in stages}
    plain = config.model_dump(mode="json")
    base = _run_of(root, config)
    if not stages:
        session.last_run = base
        return
    last = (
        base if session.refreshes else latest_run(root)
    )  # not the session's: another may have ended
    if (
        last is not None
        and last.config == plain
        and set(artifacts.items()) <= set(last.artifacts.items())
    ):
        session.last_run = last
        return
    kept = dict(base.artifacts) if base else {}  # some stages stand on the others' artifacts
    record = RunRecord(
        name=config.name,
        config=plain,
        artifacts=kept | artifacts,
        stages=[
            StageRecord(name=stage.stage, seconds=stage.seconds, counts=dict(stage.done))
            for stage in stages
        ],
        started=started.isoformat(),
        ended=datetime.now(UTC).isoformat(),
        status=REFRESHED if session.refreshes else COMPLETED,
    )
    beside = base.identifier if base and session.refreshes else ""
    identifier = write_run(root, record, beside=beside)
    session.last_run = replace(record, identifier=identifier)


def _run_of(root: Root, config: PipelineConfig) -> RunRecord | None:
    """The last run of this name that gives what this config gives; None: there is none."""
    runs = newest_first(root, name=config.name)
    return next((run for run in runs if _same_results(run, config)), None)


def _same_results(record: RunRecord, config: PipelineConfig) -> bool:
    """Whether a run gives what this config gives; keys newer than its record have their default."""
    try:
        then = PipelineConfig.model_validate(dict(record.config))
    except ValidationError:
        return False  # keys or values of another version
    return then.model_dump(mode="json", exclude=_HOW) == config.model_dump(
        mode="json", exclude=_HOW
    )


def last_config(store: str, *, run: str | None = None) -> PipelineConfig:
    """The config of a run, with `store` where it lies now.

    Args:
        store: root of the store.
        run: its name, an alias or the first digits of its identifier; None: what is searched.

    Raises:
        MissingArtifactError: the store has no such run; says which there are.
        ConfigError: another version of Reelvec wrote it.
    """
    return config_of(choose_run(open_root(store), run).record, store=store)


def config_of(record: RunRecord, *, store: str) -> PipelineConfig:
    """The config of a recorded run, with `store` where it lies now.

    Raises:
        ConfigError: another version of Reelvec wrote it.
    """
    return validate({**record.config, "store": store}, source=f"the run {record.name} of {store}")


def is_last_run(session: Session, *, stages: Sequence[str]) -> bool:
    """Whether the store's last run was this one, with at least these stages, and is all there."""
    record, config = session.last_run, session.config
    if record is None or not _same_results(record, config):
        return False
    recorded = {stage["name"] for stage in record.stages} | {"report"}
    return recorded.issuperset(stages) and session.has_all_of(record)
