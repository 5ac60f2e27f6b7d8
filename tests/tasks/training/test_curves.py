"""What people watch: the curve of every step, whoever is told of it, and stopping early."""

import csv
import json
import sys
import types
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.runs.recording import record_run
from reelvec.tasks.training.checkpoints import commit, recover
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.curves import (
    CURVE,
    StepPoint,
    curve_table,
    longest,
    read_curve,
    write_curve,
)
from reelvec.tasks.training.events import parse
from reelvec.tasks.training.exports import Curves, curves_at, write_curves, write_events
from reelvec.tasks.training.finding import find_trained
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.train import train
from reelvec.tasks.training.watching import check_watchers, watched
from reelvec.tasks.upkeep.repair import repair
from tests.support.command_line import typed
from tests.tasks.training.builders import make_store
from tests.tasks.training.test_loop import trainer_of

STILL = {"epochs": 6, "stop_after": 2, "learning_rate": 1e-12, "clip_rate_factor": 1.0}
"""Nothing gets better where nothing is learnt."""


def points(steps, *, seconds=0.5):
    return [
        StepPoint(
            step=step,
            epoch=1,
            loss=1 / step,
            grad_norm=2.0 * step,
            rates={"clip": 1e-7 * step, "other": 1e-4 * step},
            seconds=seconds,
        )
        for step in range(1, steps + 1)
    ]


def watch_module(monkeypatch, **functions):
    module = types.ModuleType("curve_watchers")
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, "curve_watchers", module)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished training that stopped early, its events and receipt; of two processes."""
    events, folder = [], tmp_path_factory.mktemp("curves")
    config = make_store(folder, header="seqTransf", processes=2, **STILL)
    receipt = train(Session(config), on_progress=events.append)
    return config, events, receipt


def snapshot_of(config):
    return find_trained(Session(config)).snapshot


def test_each_step_is_in_the_curve_once(run):
    config, events, _ = run
    curve = read_curve(snapshot_of(config))
    assert [point.step for point in curve] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [point.epoch for point in curve] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    told = [event for event in events if event["event"] == "point"]
    assert [event["loss"] for event in told] == [point.loss for point in curve]
    epochs = find_trained(Session(config)).history
    assert epochs[0]["loss"] == pytest.approx(sum(p.loss for p in curve[:3]) / 3)
    assert all(point.grad_norm > 0 and point.seconds > 0 for point in curve)
    assert set(curve[0].rates) == {"clip", "other"}
    assert [point.rates["other"] for point in curve[2::3]] == [e["lr"] for e in epochs]


def test_points_are_in_the_store_and_not_in_the_log(run):
    config, _, _ = run
    fingerprint = snapshot_of(config).artifact.fingerprint
    log = Session(config).root.local_folder / "logs" / f"train-{fingerprint}.log"
    events = [event for line in log.read_text().splitlines() if (event := parse(line))]
    said = {event["event"] for event in events}
    assert "epoch" in said and "point" not in said


def test_bytes_do_not_depend_on_the_clock(run):
    config, _, _ = run
    artifact = snapshot_of(config).artifact
    fast, slow = (write_curve(artifact, points(5, seconds=s)) for s in (0.1, 9.9))
    assert fast.checksum == slow.checksum
    assert fast.extra["seconds"] != slow.extra["seconds"]


def test_a_table_has_seconds_and_a_column_for_every_rate():
    table = curve_table(points(3))
    names = ["step", "epoch", "loss", "grad_norm", "lr_clip", "lr_other", "seconds"]
    assert table.column_names == names
    assert table.schema.field("step").type == pa.int64()
    assert curve_table([]).num_rows == 0


def test_a_resumed_trainer_has_the_curve_up_to_its_checkpoint(small):
    trainer = trainer_of(small, "clip4clip", {"sim_header": "meanP"})
    trainer.run()
    first, *_, last = checkpoints(trainer.artifact.latest())
    assert first.progress.step < last.progress.step
    whole = read_curve(trainer.artifact.latest())
    again = trainer_of(small, "clip4clip", {"sim_header": "meanP"})
    again.resume(first, curve=whole)
    again.run()
    resumed = read_curve(again.artifact.latest())
    assert [p.step for p in resumed] == [p.step for p in whole]
    assert [(p.loss, p.grad_norm, p.rates) for p in resumed] == [
        (p.loss, p.grad_norm, p.rates) for p in whole
    ]


def test_a_killed_publication_loses_no_step(small, monkeypatch):
    """Curve and checkpoint are written, the process dies before both are published."""
    trainer = trainer_of(small, "clip4clip", {"sim_header": "meanP"})
    artifact = trainer.artifact
    options = {"config": small.model, "seconds": 1.0, "keep_last": 2}

    def state(step):
        from dataclasses import replace

        progress = Progress(step=step, steps_per_epoch=9, total_steps=9)
        return replace(trainer.state, progress=progress)

    commit(artifact, state(2), curve=points(2), **options)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(artifact), "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            commit(artifact, state(4), curve=points(4), **options)
    assert len(read_curve(artifact.latest())) == 2
    assert recover(artifact, keep_last=2)[-1].progress.step == 4
    assert [p.step for p in read_curve(artifact.latest())] == [1, 2, 3, 4]
    assert len(artifact.latest().parts(CURVE)) == 1


def test_the_longest_curve_is_adopted(run):
    artifact = snapshot_of(run[0]).artifact
    receipts = [write_curve(artifact, points(n)) for n in (9, 11, 10)]
    assert longest(receipts) == [receipts[1]]
    assert longest([]) == []


def test_a_damaged_curve_costs_no_training(small):
    trainer = trainer_of(small, "clip4clip", {"sim_header": "meanP"})
    trainer.run()
    before = trainer.artifact.latest()
    path = before.parts(CURVE)[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    repair(small.store)
    after = Session(small).find("checkpoint", trainer.artifact.fingerprint).latest()
    assert [ref.key for ref in checkpoints(after)] == [ref.key for ref in checkpoints(before)]
    assert read_curve(after) == []


# -- stopping early -------------------------------------------------------------------------------


def scores(progress, *recalls, stop_after):
    for recall in recalls:
        for _ in range(progress.steps_per_epoch):
            progress = progress.after_step(1.0)
        metrics = {} if recall is None else {"R@1": recall, "MnR": 1.0}
        progress = progress.after_epoch(metrics, rate=0.1, selects=True, stop_after=stop_after)
    return progress


@pytest.mark.parametrize(
    ("recalls", "stop_after", "stopped"),
    [
        ((10, 9), 1, True),
        ((10, 9), 2, False),
        ((10, 9, 8), 2, True),
        ((10, 9, 11), 2, False),
        ((10, 9, None), 2, False),  # what was not evaluated stops nothing
        ((10, 9, None, 9), 2, True),
        ((10, 9, 8, 7), None, False),
    ],
)
def test_when_it_stops(recalls, stop_after, stopped):
    progress = Progress(steps_per_epoch=2, total_steps=20)
    assert scores(progress, *recalls, stop_after=stop_after).stopped is stopped


def test_progress_that_did_not_stop_has_the_bytes_of_before():
    progress = Progress(steps_per_epoch=2, total_steps=4)
    assert "stopped" not in progress.model_dump_json() and "stopped" not in progress.model_dump()
    over = progress.model_copy(update={"stopped": True})
    assert Progress.model_validate_json(over.model_dump_json()).finished
    assert not progress.finished


def test_training_stops_and_says_so(run):
    """Two processes: the first decides, both end."""
    config, events, receipt = run
    assert receipt.epochs == 3 and receipt.best_epoch == 1
    assert any("stopped after epoch 3 of 6" in note for note in receipt.notes)
    assert [event["stopped"] for event in events if event["event"] == "epoch"] == [0, 0, 1]
    again = train(Session(config), on_progress=lambda event: pytest.fail(str(event)))
    assert again.steps_done == 0


def test_a_resumed_training_stops_where_the_whole_one_did(small):
    train_options = small.train.model_copy(update=STILL)
    config = small.model_copy(update={"train": train_options})
    whole = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
    whole.run()
    refs = checkpoints(whole.artifact.latest())
    assert refs[-1].progress.stopped and refs[-1].progress.epoch == 3
    resumed = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
    resumed.resume(refs[-2])
    assert resumed.state.progress.epoch == 2
    resumed.run()
    assert resumed.state.progress == whole.state.progress


# -- who is told ----------------------------------------------------------------------------------


def watching(config, events, *names):
    options = config.train.model_copy(update={"watch": names})
    changed = config.model_copy(update={"train": options})
    return watched(Session(changed), "f" * 32, on_progress=events.append)


EVENTS = (
    {"event": "start", "step": 0, "steps": 6, "epochs": 2, "items": 3, "device": "cpu"},
    {"event": "step", "step": 1, "loss": 1.0},
    {"event": "point", "step": 1, "epoch": 1, "loss": 1.0, "grad_norm": 2.0, "lr_clip": 0.1},
    {"event": "checkpoint", "step": 1},
    {"event": "epoch", "epoch": 1.0, "step": 1.0, "loss": 1.0, "R@1": 50.0, "best_epoch": 1},
)


def test_a_watcher_is_told_each_step_and_epoch(monkeypatch):
    records, events = [], []
    watch_module(monkeypatch, tell=records.append)
    with watching(PipelineConfig(name="a run"), events, "curve_watchers:tell") as hear:
        for event in EVENTS:
            hear(event)
    assert [record["event"] for record in records] == ["start", "step", "epoch", "end"]
    start, step, epoch, end = records
    assert (start["run"], start["checkpoint"]) == ("a run", "f" * 32)
    assert start["config"]["train"]["watch"] == ["curve_watchers:tell"]
    assert step["grad_norm"] == 2.0 and epoch["R@1"] == 50.0 and end["error"] == ""
    assert events == list(EVENTS), "whoever shows progress hears everything"


def test_a_watcher_that_raises_is_said_once_and_training_goes_on(monkeypatch):
    records, events = [], []

    def broken(record):
        raise RuntimeError("no network")

    watch_module(monkeypatch, broken=broken, tell=records.append)
    names = ("curve_watchers:broken", "curve_watchers:tell")
    with watching(PipelineConfig(), events, *names) as hear:
        for event in (*EVENTS, *EVENTS):
            hear(event)
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert len(notes) == 1 and "curve_watchers:broken failed" in notes[0]
    assert "no network" in notes[0]
    assert len(records) == 7, "the other one is told all the same"


def test_a_watcher_hears_how_it_ended(monkeypatch):
    records = []
    watch_module(monkeypatch, tell=records.append)
    with (
        pytest.raises(ValueError),
        watching(PipelineConfig(), [], "curve_watchers:tell"),
    ):
        raise ValueError("the loss is nan")
    assert records == [{"event": "end", "error": "ValueError: the loss is nan"}]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wandb", "give tensorboard, or package.module:function"),
        ("nowhere.at_all:tell", "PYTHONPATH"),
        ("json:nothing", "cannot be imported: AttributeError"),
        ("json:__name__", "is no function"),
        (":tell", "package.module:function"),
    ],
)
def test_who_cannot_be_told_is_said_before_any_work(name, words):
    with pytest.raises(ConfigError, match=words):
        check_watchers((name,))


def test_tensorboard_that_is_not_installed_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"reelvec\[tensorboard\]"):
        check_watchers(("tensorboard",))


def test_tensorboard_reads_what_was_written(tmp_path):
    """Also after a kill: steps that were taken twice are shown once."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = PipelineConfig().train.model_copy(update={"watch": ("tensorboard",)})
    config = PipelineConfig(store=str(tmp_path)).model_copy(update={"train": options})
    for start in (0, 2):
        told = watched(Session(config), "f" * 32, on_progress=print)
        with told as hear:
            hear({**EVENTS[0], "step": start})
            for step in range(start + 1, start + 4):
                hear({**EVENTS[2], "step": step, "loss": 10.0 * start + step})
            hear({**EVENTS[4], "step": float(start + 3)})
    read = EventAccumulator(str(tmp_path / "logs" / "tensorboard" / ("f" * 32)))
    read.Reload()
    assert {"train/loss", "train/grad_norm", "lr/clip", "selection/R@1"} <= set(
        read.Tags()["scalars"]
    )
    loss = [(event.step, event.value) for event in read.Scalars("train/loss")]
    assert loss == [(1, 1.0), (2, 2.0), (3, 23.0), (4, 24.0), (5, 25.0)]


# -- files for other programs ---------------------------------------------------------------------


def test_files_hold_every_step_and_epoch(run, tmp_path):
    curves = curves_at(snapshot_of(run[0]))
    files = write_curves(curves, tmp_path)
    assert [f.name for f in files] == ["steps.csv", "steps.parquet", "epochs.csv", "epochs.parquet"]
    steps = pq.read_table(files[1])
    assert steps.equals(curves.steps) and steps.num_rows == 9
    with files[0].open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == steps.column("loss").to_pylist()
    with files[2].open() as file:
        epochs = list(csv.DictReader(file))
    assert [float(row["R@1"]) for row in epochs] == [h["R@1"] for h in curves.history]


def test_epochs_that_were_not_evaluated_have_empty_cells():
    table = Curves((), ({"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0, "R@1": 5.0}))
    assert table.epochs.column("R@1").to_pylist() == [None, 5.0]
    assert table.steps.num_rows == 0


def test_tensorboard_reads_a_finished_training(run, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = curves_at(snapshot_of(run[0]))
    write_events(curves, tmp_path)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    loss = [event.value for event in read.Scalars("train/loss")]
    assert loss == pytest.approx(curves.steps.column("loss").to_pylist())
    assert [event.step for event in read.Scalars("selection/R@1")] == [3, 6, 9]


def test_the_command_shows_epochs_and_writes_files(run, tmp_path, monkeypatch, capsys):
    config, _, receipt = run
    stage = StageReceipt.of("train", snapshot_of(config), done={"steps": 9}, seconds=1.0)
    record_run(Session(config), [stage], started=datetime.now(UTC))
    out = tmp_path / "out"
    words = ("curves", "--store", config.store)
    code, said, _ = typed(monkeypatch, capsys, *words, "--out", str(out))
    assert code == 0 and "run: 9 steps kept" in said and "R@1" in said
    assert sorted(path.name for path in out.iterdir()) == [
        "epochs.csv", "epochs.parquet", "steps.csv", "steps.parquet",
    ]  # fmt: skip
    code, said, _ = typed(monkeypatch, capsys, *words, "--json")
    document = json.loads(said)
    assert len(document["steps"]) == 9 and document["steps"][0]["seconds"] > 0
    assert document["epochs"] == [dict(point) for point in receipt.history]
    (tmp_path / "file").write_text("")
    code, _, err = typed(monkeypatch, capsys, *words, "--out", str(tmp_path / "file" / "x"))
    assert code == 2 and err.count("\n") == 1 and "cannot be made a folder" in err
