"""The state of a store, and of the queue in front of it, as Prometheus reads it.

Gauges alone: each says how things are when it is asked for. Ages are left to who reads, as is the
custom: a moment in seconds since 1970 stays true while nobody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import reelvec
from reelvec.api.recorded import RecordedArtifacts
from reelvec.configs import ConfigError
from reelvec.flows.servers import open_client, server_url
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import StoreError
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, list_runs
from reelvec.tasks.corpus.ledger import counts

__all__ = ["METRICS", "StoreCollector", "metrics_text", "queue_metrics", "write_metrics"]

_KINDS = ("corpus", "frames", "audio", "checkpoint", "embeddings", "evaluation")

Samples = dict[tuple[str, ...], float]


class StoreCollector(Collector):
    """Looks at a store anew for each scrape; what cannot have changed is not read again.

    Args:
        store: its URI.
        pool: work pool of the Prefect server, where one is configured.
    """

    def __init__(self, store: str, *, pool: str = "reelvec") -> None:
        self._store = store
        self._pool = pool
        self._counted: dict[tuple[tuple[str, int], ...], Mapping[str, int]] = {}
        self._listed: tuple[list[str], list[str]] | None = None
        self._records: list[RunRecord] = []

    def collect(self) -> Iterator[Metric]:
        """Every metric, for those runs that have tables, by name.

        Raises:
            StoreError: the store cannot be listed, or the record of a run is damaged.
        """
        root = open_root(self._store)
        records = self._runs(root)
        in_use = {record.name: record for record in records if record.has_tables}
        readable: Samples = {}
        videos: Samples = {}
        held: dict[str, Samples] = {"rows": {}, "bytes": {}, "timestamp_seconds": {}}
        for name, record in in_use.items():
            try:
                snapshots = _snapshots(RecordedArtifacts(root, record, as_ended=False))
                outcomes = self._outcomes(name, snapshots)
            except StoreError:
                readable[(name,)] = 0.0
                continue
            readable[(name,)] = 1.0
            videos |= {(name, outcome): count for outcome, count in outcomes.items()}
            for kind, snapshot in snapshots.items():
                held["rows"][name, kind] = snapshot.rows
                held["bytes"][name, kind] = snapshot.bytes
                held["timestamp_seconds"][name, kind] = _seconds(snapshot.created)
        yield _gauge("reelvec_run_readable", readable, labels=("run",))
        yield _gauge("reelvec_videos", videos, labels=("run", "outcome"))
        for what, samples in held.items():
            yield _gauge(f"reelvec_snapshot_{what}", samples, labels=("run", "kind"))
        yield _gauge("reelvec_stage_seconds", _stages(records), labels=("run", "stage"))
        yield _gauge("reelvec_run_end_timestamp_seconds", _ends(records), labels=("run",))
        yield from queue_metrics(self._pool)

    def _runs(self, root: Root) -> list[RunRecord]:
        """The records of runs, read again only when one has come or gone: there is one a night."""
        listed = root.list(layout.RUNS), root.list(layout.DROPS)
        if listed != self._listed:
            self._listed, self._records = listed, list_runs(root)
        return self._records

    def _outcomes(self, name: str, snapshots: Mapping[str, Snapshot]) -> Mapping[str, int]:
        """Videos by what became of them."""
        read = tuple(
            (snapshots[kind].artifact.fingerprint, snapshots[kind].number)
            for kind in ("corpus", "frames")
            if kind in snapshots
        )
        if read not in self._counted:
            by_outcome = counts(reelvec.open(self._store).run(name).ledger()).to_json()
            del by_outcome["planned"]  # the sum of the others
            self._counted[read] = by_outcome
        return self._counted[read]


def metrics_text(collector: StoreCollector) -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(_registry(collector))


def write_metrics(collector: StoreCollector, path: Path) -> None:
    """The same into a file, which is replaced whole.

    Raises:
        ConfigError: node_exporter would not read it, or it cannot be written.
    """
    if path.suffix != ".prom":
        raise ConfigError(
            f"--to ({path}) must end with .prom: node_exporter reads no other files", key="--to"
        )
    try:
        write_to_textfile(str(path), _registry(collector))
    except (OSError, ValueError) as error:  # ValueError: a name the system does not take
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"--to ({path!s:.200}) cannot be written: {why}", key="--to") from None


def _registry(collector: StoreCollector) -> CollectorRegistry:
    """With it alone: nothing of this process is told."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


METRICS = {
    "reelvec_run_readable": "1: the snapshots of the run can be read; 0: reelvec verify says more.",
    "reelvec_videos": "Videos of the run's corpus by what became of them.",
    "reelvec_snapshot_rows": "Rows of the run's snapshot in force.",
    "reelvec_snapshot_bytes": "Bytes of the run's snapshot in force.",
    "reelvec_snapshot_timestamp_seconds": "When the run's snapshot in force was published.",
    "reelvec_stage_seconds": "Seconds the stage took the last time.",
    "reelvec_run_end_timestamp_seconds": "When the last run of this name ended.",
    "reelvec_prefect_up": "1: the Prefect server answers.",
    "reelvec_queue_runs": "Flow runs of the work pool that are due and wait, or are at work.",
}
"""Every metric, with what it says."""


def _gauge(name: str, samples: Samples, *, labels: Iterable[str] = ()) -> Metric:
    family = GaugeMetricFamily(name, METRICS[name], labels=list(labels))
    for values, value in samples.items():
        family.add_metric(list(values), value)
    return family


def _snapshots(artifacts: RecordedArtifacts) -> dict[str, Snapshot]:
    return {kind: artifacts.snapshot(kind) for kind in _KINDS if artifacts.has(kind)}


def _stages(records: Iterable[RunRecord]) -> Samples:
    return {
        (record.name, stage["name"]): stage["seconds"]
        for record in records
        for stage in record.stages
    }


def _ends(records: Iterable[RunRecord]) -> Samples:
    return {(record.name,): _seconds(record.ended) for record in records if record.ended}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def queue_metrics(pool: str) -> Iterator[Metric]:
    """How many runs wait at the Prefect server, if one is configured; it is asked for seconds."""
    url = server_url()
    if url is None:
        return
    states = {"waiting": ["SCHEDULED", "PENDING"], "running": ["RUNNING"]}
    now = datetime.now(UTC).isoformat()
    waiting: Samples = {}
    try:
        with open_client(url) as client:
            for state, types in states.items():
                runs = {"state": {"type": {"any_": types}}, "expected_start_time": {"before_": now}}
                body = {"flow_runs": runs, "work_pools": {"name": {"any_": [pool]}}}
                count = client.request("POST", "/flow_runs/count", json=body).json()
                waiting[pool, state] = float(count)
    except Exception:  # noqa: BLE001 - whatever is in the way, the store is told of all the same
        waiting = {}
    yield _gauge("reelvec_prefect_up", {(): float(bool(waiting))})
    yield _gauge("reelvec_queue_runs", waiting, labels=("pool", "state"))
