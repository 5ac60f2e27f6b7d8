"""A plan with its price: which videos and why, by whose receipts, and nothing is written."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reelvec.flows.commands.app import app
from reelvec.flows.pricing import plan_run, show_plan
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, find_run, write_run
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.price import price_refresh
from reelvec.tasks.runs.rates import Rate, rates_of
from tests.drills.bitflips import config_of, draw
from tests.support.named_runs import named, run_named

STAGES = ("ingest", "extract", "embed", "evaluate")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run over three videos; then one is new, one has other bytes, the file of one is gone."""
    folder = tmp_path_factory.mktemp("priced")
    videos, write = draw(folder, videos=4)
    write(videos[:3])
    config = named(config_of(folder, folder / "store"), "clips")
    run_named(config)
    write(videos)
    first, second = (folder / "videos" / Path(path).name for path in videos[:2])
    first.write_bytes(first.read_bytes() + b" ")
    second.unlink()
    return config, [Path(path).stem for path in videos]


def listing(store):
    """Every file and folder of a store, with when it was written; who has written before ends."""
    paths = [path for path in Path(store).rglob("*") if ".writers" not in path.parts]
    return {path: path.stat().st_mtime_ns for path in paths}


def priced(config):
    return price_refresh(Session(config, plans=True), stages=STAGES)


def record(root, *stages, name="clips"):
    """A record of a run with receipts: (stage, seconds, counts)."""
    listed = [{"name": n, "seconds": s, "counts": c} for n, s, c in stages]
    base = RunRecord(name=name, config={}, stages=listed)
    write_run(root, replace(base, started=datetime.now(UTC).isoformat()))


def test_the_plan_names_videos_and_reasons_and_writes_nothing(place, capsys):
    config, (first, second, _, fourth) = place
    before = listing(config.store)
    plan = priced(config)
    assert listing(config.store) == before
    assert {video.video_id: video.why for video in plan.videos} == {
        first: "changed", second: "gone", fourth: "new"
    }  # fmt: skip
    assert plan.counts == {"changed": 1, "gone": 1, "new": 1}
    assert plan.bytes_read > 0 and plan.bytes_written > 0
    assert set(plan.unpriced) == {"ingest", "extract", "embed", "evaluate"}
    show_plan(plan)
    shown = capsys.readouterr().out
    assert "3 videos (1 changed, 1 gone, 1 new)" in shown
    assert "no receipt of an earlier run" in shown and "no earlier receipt" in shown


def test_another_model_touches_every_video(place):
    config, names = place
    plan = plan_run(named(config, "clips", max_frames=1))
    assert {video.video_id: video.why for video in plan.videos} == {
        names[0]: "changed", names[1]: "gone", names[2]: "model changed", names[3]: "new"
    }  # fmt: skip


def test_minutes_are_by_the_receipts_of_the_run_itself(place):
    config, _ = place
    root = open_root(config.store)
    kept = find_run(root)
    record(root, ("extract", 60.0, {"new": 1}), name="other")
    assert [(p.seconds, p.basis) for p in priced(config).prices if p.stage == "extract"] == [
        (120.0, "1 receipt of other runs: a guess")
    ]
    record(root, ("ingest", 2.0, {"new": 1}), ("extract", 5.0, {"new": 2, "again": 0}))
    record(root, ("ingest", 4.0, {"new": 2}), ("extract", 9.0, {"new": 3, "again": 1}))
    plan = priced(config)
    prices = {price.stage: price for price in plan.prices}
    assert (prices["ingest"].units, prices["ingest"].seconds) == (3, 6.0)
    assert (prices["extract"].units, prices["extract"].seconds) == (2, 5.0)
    assert prices["extract"].basis == "2 receipts"
    assert plan.unpriced == ("embed", "evaluate")
    assert "about 0.2 minutes and what embed, evaluate takes" in plan.words
    assert find_run(root).identifier == kept.identifier


@pytest.mark.parametrize(
    ("receipts", "rate"),
    [
        ([(10, 20.0)], (0.0, 2.0)),
        ([(10, 20.0), (10, 24.0)], (0.0, 2.2)),
        ([(1, 3.0), (10, 21.0)], (1.0, 2.0)),
        ([(1, 1.0), (10, 100.0)], (0.0, 1001 / 101)),
        ([(1, 10.0), (10, 1.0)], (0.0, 1.0)),
    ],
    ids=["one", "same", "line", "from-nothing", "falling"],
)
def test_a_rate_is_a_line_that_never_falls(tmp_path, receipts, rate):
    root = open_root(str(tmp_path))
    for units, seconds in receipts:
        record(root, ("extract", seconds, {"new": units}))
    found = rates_of(root, name="clips")["extract"]
    assert (found.fixed, found.each) == pytest.approx(rate)
    assert (found.receipts, found.own) == (len(receipts), True)
    assert Rate(fixed=1.0, each=2.0, receipts=1, own=True).seconds(3) == 7.0


def test_a_store_that_is_not_there_is_not_made(tmp_path, capsys):
    words = ["run", "demo", "--store", str(tmp_path / "new"), "--set", "corpus.videos=60"]
    app([*words, "--plan", "--json"], standalone_mode=False)
    plan = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "new").exists()
    assert plan["counts"] == {"new": 60} and len(plan["videos"]) == 50
    assert plan["videos"][0] == {"video_id": "shapes-000000", "why": "new"}
    stages = {stage["stage"]: stage for stage in plan["stages"]}
    assert stages["train"]["units"] > 0 and stages["train"]["seconds"] is None
    assert stages["extract"]["bytes"] > 0 and plan["minutes"] == 0.0


def test_nothing_to_do_costs_nothing(place, tmp_path):
    config, _ = place
    run_named(config)
    plan = plan_run(config)
    assert (plan.work, plan.prices, plan.words) == ((), (), "up to date: nothing is to do")
