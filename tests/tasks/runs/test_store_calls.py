"""How often a run with nothing to do asks its store, and that it leaves nothing there.

On an object store each call is a request.
"""

from pathlib import Path

import pytest

from reelvec.configs import PipelineConfig
from reelvec.flows.launch import launch
from reelvec.flows.own_engine import open_own_engine
from reelvec.flows.stages import STAGES, run_stages
from reelvec.tasks.artifacts import Session
from tests.support.counting_root import counted_calls
from tests.support.engine_free import run_all

MOST_CALLS = 74  # five say that the run is at work, two ask whether videos were forgotten
"""A quarter of the 270 and more that such a run made before it had a session."""


def config_of(store, *, videos, parts):
    return PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": {"kind": "synthetic", "videos": videos, "seconds": 0.5, "fps": 4, "size": 64},
            "extract": {"size": 64, "shard_videos": -(-videos // parts), "sampling": {"rate": 4.0}},
            "model": {"max_frames": 2, "options": {"sim_header": "meanP"}},
            "train": {"epochs": 0},
            "embed": {"shard_rows": -(-videos // parts)},
            "evaluate": {"bootstrap": 0},
        }
    )


def run_all_stages(config):
    """What a run does, stage by stage on one session."""
    session = Session(config)
    with open_own_engine(threads=1, dask_address=None) as engine:
        return run_stages(
            session, STAGES, run_stage=lambda name: STAGES[name](session, None, engine)
        )


def make_run(store, **options):
    config = config_of(store, **options)
    run_all(config)  # the stages that have shards; those that have none follow as in the flow
    assert run_all_stages(config).changed
    assert not run_all_stages(config).changed
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("calls"), videos=48, parts=6)


def total(calls):
    listed = "\n".join(f"{count} {verb} {path}" for (verb, path), count in calls.most_common())
    print(f"{calls.total()} calls\n{listed}")
    return calls.total()


def test_nothing_to_do_is_found_with_few_calls(config, monkeypatch):
    with counted_calls(monkeypatch) as calls:
        summary = launch(config)
    assert (summary.changed, summary.stages) == (False, ())
    assert summary.outcome.metrics and summary.outcome.report
    assert total(calls) <= MOST_CALLS


def test_a_night_without_work_adds_no_file(config):
    before = files_of(config)
    for _ in range(2):
        assert not launch(config).changed
        assert files_of(config) == before


def files_of(config):
    return {path for path in Path(config.store).rglob("*") if path.is_file()}


def test_stages_with_nothing_to_do_make_few_calls(config, monkeypatch):
    with counted_calls(monkeypatch) as calls:
        summary = run_all_stages(config)
    assert not summary.changed
    assert len(summary.stages) == 6
    assert total(calls) <= MOST_CALLS


def test_calls_grow_with_the_parts_and_not_faster(tmp_path, monkeypatch):
    asked = []
    for parts in (2, 4, 8):
        config = make_run(tmp_path / str(parts), videos=8, parts=parts)
        with counted_calls(monkeypatch) as calls:
            assert not launch(config).changed
        asked.append(calls.total())
    two, four, eight = asked
    assert two < four < eight, "each part has a receipt that is read"
    assert eight - four <= 2 * (four - two) + 2
