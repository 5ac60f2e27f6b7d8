"""Stages on a Dask cluster that grows with their shards and has no worker between them."""

import time
from collections import Counter

import pytest
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin

from reelvec.configs import PipelineConfig
from reelvec.flows.launch import launch
from reelvec.tasks.runs.status import describe_store

STAGES = (("ingest",), ("extract",), ("train", "embed"))
"""Each of these has shards; a training of one node has none."""
PATIENCE = 60.0


class Seen(SchedulerPlugin):
    """What the scheduler saw: workers that came and went, and how often each task ended."""

    def __init__(self):
        self.came, self.left, self.ended = 0, 0, Counter()

    def add_worker(self, scheduler, worker):
        self.came += 1

    def remove_worker(self, scheduler, worker, **kwargs):
        self.left += 1

    def transition(self, key, start, finish, *args, **kwargs):
        if (start, finish) == ("processing", "memory"):
            self.ended[key] += 1


@pytest.fixture(scope="module", params=["alone", "flows"])
def engine(request):
    """Each test once without a Prefect server and once as flows."""
    if request.param == "flows":
        request.getfixturevalue("prefect_server")
    return request.param


@pytest.fixture
def cluster():
    """It starts a worker where there is work, two at most, and closes each that has none."""
    given = {"n_workers": 0, "threads_per_worker": 1, "processes": False, "memory_limit": 0}
    quiet = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**given, **quiet) as found:
        found.adapt(minimum=0, maximum=2, interval="100ms", wait_count=2)
        found.scheduler.add_plugin(Seen(), name="seen")
        yield found


def config(store, **more):
    given = {
        "name": "adaptive",
        "store": str(store),
        "corpus": {"kind": "synthetic", "videos": 8, "seconds": 0.5, "size": 64},
        "extract": {"size": 64, "shard_videos": 2, "sampling": {"count": 2}},
        "model": {"max_frames": 2, "options": {"sim_header": "meanP"}},
        "train": {"epochs": 0},
        "embed": {"shard_rows": 4},
    }
    return PipelineConfig.model_validate(given | more)


def wait_until_empty(cluster):
    until = time.monotonic() + PATIENCE
    while cluster.scheduler.workers:
        assert time.monotonic() < until, "idle workers stay"
        time.sleep(0.05)


def made(store):
    """Checksums; a corpus that is drawn names files of its own store."""
    there = [a for a in describe_store(str(store)) if a.kind != "corpus"]
    return {(a.kind, a.fingerprint): a.checksum for a in there}


def test_stages_end_on_a_cluster_that_is_empty_before_each(engine, cluster, tmp_path):
    store, seen = tmp_path / "store", cluster.scheduler.plugins["seen"]
    given = config(store, runner="dask", dask_address=cluster.scheduler_address)
    for stages in STAGES:
        wait_until_empty(cluster)
        before = seen.came
        launch(given, stages=stages)
        assert seen.came > before, "a worker was started for it"
    wait_until_empty(cluster)
    assert seen.left == seen.came
    parts = [path for path in store.glob("*/*/parts/*") if "checkpoint" not in path.parts]
    assert set(seen.ended.values()) == {1}, "none twice"
    assert len(seen.ended) == len(parts), "a shard, a part"
    launch(config(tmp_path / "alone"), stages=sum(STAGES, ()))
    assert made(store) == made(tmp_path / "alone")


def test_a_client_of_another_cluster_takes_nothing(engine, cluster, tmp_path):
    """A notebook has one open, the default of its process."""
    quiet = {"host": "127.0.0.1", "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    given = config(tmp_path, runner="dask", dask_address=cluster.scheduler_address)
    with LocalCluster(n_workers=1, processes=False, **quiet) as other, Client(other) as open_there:
        other.scheduler.add_plugin(Seen(), name="seen")
        launch(given, stages=("ingest",))
        assert Client.current() is open_there
        assert not other.scheduler.plugins["seen"].ended
    assert len(cluster.scheduler.plugins["seen"].ended) > 1
