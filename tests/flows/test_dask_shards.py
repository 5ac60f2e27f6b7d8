"""Shards on a Dask cluster, its workers in this process: a window, GPUs, workers that die."""

import time
from functools import partial
from types import SimpleNamespace

import pytest
from distributed import Client, Scheduler, SpecCluster, Worker, get_worker
from distributed.scheduler import KilledWorker

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.flows import dask_shards, dask_training
from reelvec.flows.dask_shards import results_of, work_on, workers_of
from reelvec.flows.dask_training import run_on_dask, where_to_train
from reelvec.flows.own_engine import open_own_engine
from reelvec.flows.prefect_engine import PrefectEngine
from reelvec.storage.commits.receipts import Receipt
from reelvec.storage.errors import ReelvecError
from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.shards import Shard, ShardReceipt
from reelvec.tasks.training.running import run_here
from reelvec.tasks.training.spec import TrainSpec

TARGET = SnapshotRef("nowhere", "corpus", "0")
SHARDS = [Shard(table="videos", name=f"{n}", items=(n,)) for n in range(40)]
PLAIN, GPU = "plain", "gpu"


@pytest.fixture(scope="module")
def cluster():
    """Of two workers, of which one names a GPU."""
    quiet = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "port": 0}
    one = {"nthreads": 1, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    workers = {
        PLAIN: {"cls": Worker, "options": one | {"name": PLAIN}},
        GPU: {"cls": Worker, "options": one | {"name": GPU, "resources": {"GPU": 1}}},
    }
    scheduler = {"cls": Scheduler, "options": quiet}
    with SpecCluster(workers=workers, scheduler=scheduler) as found:
        yield found


def where(target, shard, **shared):
    part = f"parts/{get_worker().name}-{shard.name}.arrow"
    receipt = Receipt(part, "videos", shard.name, 1, 1, "0", outcomes=(Outcome(shard.name),))
    return ShardReceipt.of(receipt)


def worker_of(done):
    return done.receipt.part.removeprefix("parts/").partition("-")[0]


def run(cluster, device):
    """The workers that had the shards."""
    with open_own_engine(threads=1, dask_address=cluster.scheduler_address) as engine:
        found = list(engine.map(where, TARGET, SHARDS, shared={}, device=device))
    assert sorted(int(r.receipt.shard) for r in found) == list(range(40)), "each once"
    assert all(r.receipt.outcomes == (Outcome(r.receipt.shard),) for r in found), "whole"
    return set(map(worker_of, found))


def test_what_wants_a_gpu_goes_to_the_workers_that_name_one(cluster):
    assert run(cluster, "cpu") == {PLAIN, GPU}
    assert run(cluster, "auto") == run(cluster, "cuda") == {GPU}


def test_prefects_task_runs_do_too(cluster):
    engine = PrefectEngine("run", dask_address=cluster.scheduler_address)
    with Client(cluster) as client:
        for device, wanted in (("cpu", {PLAIN, GPU}), ("cuda", {GPU})):
            with engine._on(device):
                futures = client.map(partial(where, None), SHARDS, pure=False)
            assert set(map(worker_of, client.gather(futures))) == wanted


def test_workers_are_known_whatever_the_clients_heartbeat_has_last_heard(cluster, monkeypatch):
    with Client(cluster) as client:

        async def heartbeat(n_workers=0):
            client._scheduler_identity = {"workers": {}}

        monkeypatch.setattr(client, "_update_scheduler_info", heartbeat)
        assert client.scheduler_info(n_workers=-1)["workers"] == {}, "why it is not asked"
        assert {worker["name"] for worker in workers_of(client).values()} == {PLAIN, GPU}


def test_a_training_goes_where_the_gpus_are(cluster):
    def goes(**options):
        return where_to_train(cluster.scheduler_address, TrainConfig(**options))

    assert goes(device="cpu") is run_here
    assert goes(device="auto").func is goes(device="cpu", nodes=2).func is run_on_dask


def test_what_a_training_says_comes_as_it_was_said(cluster, monkeypatch):
    said = {"event": "epoch", "epoch": 1.0, "loss": 2.5}

    def run_at(place, spec, *, on_progress, stopped):
        assert place.is_first and not stopped()
        on_progress(dict(said))

    monkeypatch.setattr(dask_training, "run_at", run_at)
    spec = TrainSpec(checkpoint=TARGET, frames=TARGET, model=ModelConfig(), train=TrainConfig())
    heard = []
    run_on_dask(cluster.scheduler_address, spec, on_progress=heard.append)
    assert heard == [said]


def test_the_scheduler_holds_a_window_of_the_shards(cluster, monkeypatch):
    monkeypatch.setattr(dask_shards, "LEAST_HELD", 8)
    monkeypatch.setattr(dask_shards, "HELD_A_THREAD", 1)
    seen, held = 0, []
    with Client(cluster) as client:
        for done in work_on(client, partial(where, TARGET), SHARDS, device="cpu"):
            held.append(len(cluster.scheduler.tasks))
            seen += done.receipt.counts.planned
    assert seen == len(SHARDS) and max(held) <= 2 * 8  # those on their way out, too


def test_what_is_done_by_now_is_fetched_in_one_request(cluster, monkeypatch):
    asked, gather = [], Client.gather
    monkeypatch.setattr(
        Client, "gather", lambda self, some: asked.append(len(some)) or gather(self, some)
    )
    with Client(cluster) as client:
        found = work_on(client, partial(where, TARGET), SHARDS, device="cpu")
        first = next(found)
        while any(state.status == "pending" for state in client.futures.values()):
            time.sleep(0.01)
        rest = list(found)
    assert len([first, *rest]) == sum(asked) == len(SHARDS)
    assert len(asked) < len(SHARDS) // 2, "not one by one"


def test_a_shard_that_ends_its_workers_is_said():
    def fail(futures):
        raise KilledWorker("shard", SimpleNamespace(address="tcp://10.0.0.1:1"), 3)

    with pytest.raises(ReelvecError, match=r"4 Dask workers died.*10.0.0.1:1; see their logs"):
        results_of(SimpleNamespace(gather=fail), [])
