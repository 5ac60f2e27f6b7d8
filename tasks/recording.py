"""The runs of a store: which config, which artifacts at which snapshots, what each stage cost.

`retry`, `evaluate` and the scheduled flow take the last run's config from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.configs.loader import validate
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, StageRecord, latest_run, run_in_use, write_run

__all__ = ["is_last_run", "last_config", "record_run"]

#: keys that say how a run is worked on, not what it gives
_HOW = {"store", "runner", "workers", "dask_address"}


def record_run(
    config: PipelineConfig, stages: Sequence[Mapping[str, Any]], *, started: datetime
) -> None:
    """Write the run's record, unless it did nothing the last record does not say already."""
    root = open_root(config.store)
    artifacts = {
        stage["kind"]: (stage["artifact"], stage["snapshot"]) for stage in stages if "kind" in stage
    }
    plain = config.model_dump(mode="json")
    last = latest_run(root)
    if (
        last is not None
        and last.config == plain
        and set(artifacts.items()) <= set(last.artifacts.items())
    ):
        return
    kept = {}
    if last is not None and _same_results(last.config, plain):
        kept = dict(last.artifacts)  # a run of some stages stands on the others' artifacts
    write_run(
        root,
        RunRecord(
            name=config.name,
            config=plain,
            artifacts=kept | artifacts,
            stages=[
                StageRecord(name=s["stage"], seconds=s["seconds"], counts=s.get("done", {}))
                for s in stages
            ],
            started=started.isoformat(),
            ended=datetime.now(UTC).isoformat(),
        ),
    )


def _same_results(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other[key] for key in other if key not in _HOW)


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


def is_last_run(config: PipelineConfig, *, stages: Sequence[str]) -> bool:
    """Whether the store's last run was this one, with at least these stages."""
    record = latest_run(open_root(config.store))
    if record is None or not _same_results(record.config, config.model_dump(mode="json")):
        return False
    recorded = {stage["name"] for stage in record.stages} | {"report"}
    return recorded.issuperset(stages)
