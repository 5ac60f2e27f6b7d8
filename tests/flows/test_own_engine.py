"""Shards without a Prefect server: each once, tried again, and given up."""

import threading
import time

import pytest

from reelvec.flows import own_engine
from reelvec.flows.own_engine import open_own_engine
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.shards import Shard, ShardReceipt

TARGET = SnapshotRef("nowhere", "corpus", "0")
SHARDS = [Shard(table="videos", name=f"{n}", items=(n,)) for n in range(6)]


@pytest.fixture(autouse=True)
def without_delay(monkeypatch):
    monkeypatch.setattr(own_engine, "RETRY_DELAYS", (0.0, 0.0))


def run(function, shards=SHARDS, **shared):
    with open_own_engine(threads=2, dask_address=None) as engine:
        return [r.receipt for r in engine.map(function, TARGET, shards, shared=shared)]


def test_every_shard_is_worked_on_once_with_what_is_shared():
    def work(target, shard, *, extra):
        return ShardReceipt(f"{target.root} {shard.name} {extra}")

    assert sorted(run(work, extra="more")) == [f"nowhere {n} more" for n in range(6)]


@pytest.mark.parametrize(("failures", "calls"), [(2, 3), (3, 3)])
def test_what_fails_is_tried_twice_more_and_told(failures, calls, capsys):
    tried = []

    def work(_, shard):
        tried.append(shard.name)
        if len(tried) <= failures:
            raise OSError("the disk is\ntired")
        return ShardReceipt("done")

    if failures < calls:
        assert run(work, SHARDS[:1]) == ["done"]
    else:
        with pytest.raises(OSError, match="tired"):
            run(work, SHARDS[:1])
    assert len(tried) == calls
    assert capsys.readouterr().err.count("is tried again: the disk is\\ntired\n") == 2


def test_a_persons_mistake_is_not_tried_again_and_drops_what_is_not_begun():
    tried = []

    def work(_, shard):
        tried.append(shard.name)
        time.sleep(0.2)
        raise ReelvecError("no such file")

    many = [Shard(table="videos", name=f"{n}", items=(n,)) for n in range(200)]
    with pytest.raises(ReelvecError):
        run(work, many)
    assert len(tried) < 20 and len(set(tried)) == len(tried)


@pytest.mark.parametrize(("decodes", "at_once"), [(False, 2), (True, 3)])
def test_where_shards_decode_one_more_is_at_work(decodes, at_once):
    together, most = threading.Barrier(at_once), []

    def work(_, shard):
        most.append(together.wait(20))
        return ShardReceipt("done")

    with open_own_engine(threads=2, dask_address=None) as engine:
        list(engine.map(work, TARGET, SHARDS, shared={}, decodes=decodes))
    assert sorted(set(most)) == list(range(at_once))
