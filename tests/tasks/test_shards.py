"""How a plan is cut: by its items alone, so that every machine cuts it the same way."""

import os

import pytest

from reelvec.configs import PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import plan_ingest
from reelvec.tasks.shards import size_of_shards


@pytest.mark.parametrize(
    ("items", "size"), [(0, 8), (60, 8), (300, 8), (1_000, 16), (5_000, 64), (10**7, 64)]
)
def test_few_items_make_enough_shards_for_many_cores_and_many_keep_theirs(items, size):
    assert size_of_shards(items, least=8, most=64) == size


def test_a_size_that_is_asked_for_is_never_exceeded():
    assert size_of_shards(10**6, least=8, most=3) == 3


def test_a_resumed_run_plans_the_same_shards_on_any_machine(tmp_path, monkeypatch):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(520):
        (videos / f"{number}.mp4").write_text(str(number))

    def planned(workers, cores):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        config = {
            "store": str(tmp_path / "store"),
            "workers": workers,
            "corpus": {"kind": "folder", "videos": str(videos)},
        }
        plan = plan_ingest(Session(PipelineConfig.model_validate(config)))
        return [(shard.name, len(shard.items)) for shard in plan.shards if shard.table == "videos"]

    here = planned(workers=1, cores=1)
    assert [size for _, size in here] == [32] * 16 + [8]
    assert planned(workers=0, cores=64) == here
