"""Records of a store's runs: the config, the artifacts' snapshots, the cost of each stage.

`retry`, `evaluate` and the scheduled flow take the last run's config from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from reelvec.configs import PipelineConfig
from reelvec.configs.loader import validate
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, StageRecord, latest_run, run_in_use, write_run
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.receipts import StageReceipt

__all__ = ["is_last_run", "last_config", "record_run"]

#: keys that say how a run is worked on, not what it gives
_HOW = {"store", "runner", "workers", "dask_address", "compaction", "max_lost_fraction"}


def record_run(session: Session, stages: Sequence[StageReceipt], *, started: datetime) -> None:
    """Write the run's record, unless it did nothing the last record does not say already."""
    config = session.config
    artifacts = {stage.made.kind: (stage.made.fingerprint, stage.made.number) for stage in stages}
    plain = config.model_dump(mode="json")
    last = latest_run(session.root)  # not the session's: another run may have ended meanwhile
    if (
        last is not None
        and last.config == plain
        and set(artifacts.items()) <= set(last.artifacts.items())
    ):
        session.last_run = last
        return
    kept = {}
    if last is not None and _same_results(last, config):
        kept = dict(last.artifacts)  # a run of some stages stands on the others' artifacts
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
    )
    identifier = write_run(session.root, record)
    session.last_run = replace(record, identifier=identifier)


def _same_results(record: RunRecord, config: PipelineConfig) -> bool:
    """Whether a run gives what this config gives; keys newer than its record have their default."""
    try:
        then = PipelineConfig.model_validate(dict(record.config))
    except ValidationError:
        return False  # keys or values of another version
    return then.model_dump(mode="json", exclude=_HOW) == config.model_dump(
        mode="json", exclude=_HOW
    )


def last_config(store: str) -> PipelineConfig:
    """The config of the last run that has tables, or of the last, with `store` where it lies now.

    Raises:
        MissingArtifactError: the store has no run.
    """
    record = run_in_use(open_root(store))
    if record is None:
        raise MissingArtifactError(
            f"no run in the store ({store}); `reelvec demo` or `reelvec embed VIDEOS` makes one,"
            " and --store names another store",
            path=store,
        )
    return validate({**record.config, "store": store}, source=f"the last run of {store}")


def is_last_run(session: Session, *, stages: Sequence[str]) -> bool:
    """Whether the store's last run was this one, with at least these stages, and is all there."""
    record, config = session.last_run, session.config
    if record is None or not _same_results(record, config):
        return False
    recorded = {stage["name"] for stage in record.stages} | {"report"}
    return recorded.issuperset(stages) and session.has_all_of(record)
