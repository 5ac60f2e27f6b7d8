"""Which workers of a Dask cluster train, where each stands, and what is said where one goes."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.flows import dask_training
from reelvec.flows.dask_training import _chosen, _places, run_on_dask
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.spec import TrainSpec

NEAR, FAR = ("tcp://10.0.0.1:40001", "tcp://10.0.0.1:40002"), ("tcp://10.0.0.2:40001",)


@dataclass
class Future:
    """One that never ends, or has ended so."""

    status: str = "pending"
    error: Exception | None = None

    def result(self, timeout=None):
        if self.error:
            raise self.error


@dataclass
class Cluster:
    """In a client's place: its workers, the GPUs that each is shown."""

    shown: dict
    resources: dict = field(default_factory=dict)
    ends: str = "pending"
    cancelled: int = 0
    goes: str = ""

    @property
    def scheduler(self):
        return self

    def sync(self, function, **named):
        return function(**named)

    def identity(self, n_workers):
        assert n_workers == -1
        return {"workers": {w: {"resources": self.resources.get(w, {})} for w in self.shown}}

    def wait_for_workers(self, count, timeout):
        if len(self.shown) < count:
            raise TimeoutError

    def run(self, function, host, workers):
        return {worker: (self.shown[worker], 4711) for worker in workers}

    def submit(self, *given, workers, **how):
        return Future(self.ends)

    def cancel(self, futures):
        self.cancelled += 1
        self.shown.pop(self.goes, None)

    def subscribe_topic(self, *_):
        self.shown.pop(self.goes, None)

    def unsubscribe_topic(self, *_):
        pass


def test_workers_of_a_machine_stand_side_by_side():
    cluster = Cluster(dict.fromkeys((*FAR, *reversed(NEAR)), ""))
    assert _chosen(cluster, 3, patience=1) == [*NEAR, *FAR]
    assert _chosen(cluster, 2, patience=1) == [*NEAR]


def test_workers_with_a_gpu_come_first():
    cluster = Cluster(dict.fromkeys((*NEAR, *FAR), ""), resources={FAR[0]: {"GPU": 1}})
    assert _chosen(cluster, 1, patience=1) == [*FAR]


def test_too_few_workers_are_said():
    with pytest.raises(TrainingError, match=r"train.nodes \(3\) is more than.*\(2\)"):
        _chosen(Cluster(dict.fromkeys(NEAR, "")), 3, patience=1)


@pytest.mark.parametrize(
    ("shown", "locals"),
    [
        (("", "", ""), [0, 2, 0]),  # plain workers: the second of a machine takes the next GPUs
        (("0,1", "0,1", "0,1"), [0, 2, 0]),
        (("0,1", "1,0", "0,1"), [0, 0, 0]),  # dask-cuda's: the first that each is shown is its own
    ],
)
def test_each_worker_takes_gpus_of_its_own(shown, locals):
    cluster = Cluster(dict(zip((*NEAR, *FAR), shown, strict=True)))
    places = _places(cluster, [*NEAR, *FAR], TrainConfig(nodes=3, processes=2))
    assert [list(place.ranks) for place in places] == [[0, 1], [2, 3], [4, 5]]
    assert [place.first_local for place in places] == locals
    assert [place.local_world for place in places] == [4, 4, 2]
    assert {str(place.address) for place in places} == {"10.0.0.1:4711"}


def test_the_first_ones_words_are_raised_rather_than_those_of_who_repeats_them():
    late, echo = TrainingError("the loss is nan"), TrainingError("the first node says: …")
    futures = [Future("pending", late), Future("error", echo)]
    assert dask_training._is_over(futures)
    with pytest.raises(TrainingError, match="the loss is nan"):
        dask_training._raise_failure(futures)
    with pytest.raises(TrainingError, match="the first node says"):
        dask_training._raise_failure([Future("finished"), futures[1]])
    assert not dask_training._is_over([Future("finished"), Future()])


def test_where_a_worker_goes_others_go_on_and_it_is_said(monkeypatch):
    ref = SnapshotRef("file:///nowhere", "checkpoint", "0" * 32)
    options = TrainConfig(nodes=2)
    spec = TrainSpec(checkpoint=ref, frames=ref, model=ModelConfig(), train=options)
    cluster = Cluster(dict.fromkeys((*NEAR, *FAR), ""), goes=NEAR[1])
    monkeypatch.setattr(dask_training, "open_client", lambda _: nullcontext(cluster))
    events = []

    def follow(event):
        events.append(event)
        cluster.ends = "finished"

    run_on_dask("tcp://10.0.0.1:8786", spec, on_progress=follow)
    (restart,) = events
    assert restart["event"] == "restart" and NEAR[1] in restart["message"]
    assert cluster.cancelled == 2
