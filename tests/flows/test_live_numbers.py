"""A training's numbers while it runs: in Prefect's log and table, and a line on the terminal."""

import pytest

from reelvec.flows import prefect_engine, progress
from reelvec.flows.prefect_engine import PrefectEngine
from reelvec.flows.progress import TrainingNumbers, stage_progress

STEP = {
    "event": "step", "step": 7, "steps": 30, "epoch": 1, "loss": 1.23456, "lr": 1e-4,
    "samples_per_second": 64.2, "data_wait": 0.25,
}  # fmt: skip
EPOCH = {
    "event": "epoch", "epoch": 1.0, "step": 10.0, "loss": 1.234567, "lr": 1e-4, "R@1": 100 / 3,
    "best_epoch": 1, "stopped": False,
}  # fmt: skip


@pytest.fixture
def shown(monkeypatch):
    """What a Prefect server would have been told."""
    said = {"lines": [], "tables": []}

    class Logger:
        def info(self, line):
            said["lines"].append(line)

    monkeypatch.setattr(prefect_engine, "get_run_logger", Logger)
    monkeypatch.setattr(
        prefect_engine,
        "create_table_artifact",
        lambda table, **given: said["tables"].append({"table": table, **given}),
    )
    return said


def test_each_epoch_is_a_line_and_a_row(shown):
    numbers = TrainingNumbers("train", show=PrefectEngine("clips").numbers)
    numbers.follow(EPOCH)
    numbers.follow({**EPOCH, "epoch": 2.0, "stopped": True})
    assert shown["lines"] == [
        "epoch 1: loss 1.2346, R@1 33.3, best epoch 1",
        "epoch 2: loss 1.2346, R@1 33.3, best epoch 1; it stops here",
    ]
    assert [len(given["table"]) for given in shown["tables"]] == [1, 2]
    assert {given["key"] for given in shown["tables"]} == {"numbers-train-clips"}
    row = shown["tables"][1]["table"][1]
    assert (row["epoch"], row["R@1"], row["loss"]) == (2.0, 33.333, 1.2346)


def test_steps_are_lines_now_and_then_and_no_rows(shown, monkeypatch):
    clock = iter([0.0, 1.0, 31.0, 32.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    numbers = TrainingNumbers("train", show=PrefectEngine("clips").numbers)
    for _ in range(4):
        numbers.follow(STEP)
    assert shown["tables"] == [] and len(shown["lines"]) == 2
    line = "step 7 of 30: loss 1.2346, lr 0.0001, 64 pairs/s, waited for data 25%"
    assert shown["lines"][0] == line


def test_what_is_no_number_is_shown_nowhere(shown):
    numbers = TrainingNumbers("train", show=PrefectEngine("clips").numbers)
    numbers.follow({"event": "start", "step": 0})
    numbers.follow({"event": "note", "text": "a note"})
    assert shown == {"lines": [], "tables": []}


def test_an_epoch_is_a_line_on_the_terminal(capsys):
    def silent(_):
        return None

    with stage_progress("train", total=3, unit="steps", show=silent) as shown:
        shown.follow_training(EPOCH)
        shown.follow_training({k: v for k, v in EPOCH.items() if k != "R@1"})
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "train: epoch 1: loss 1.2346, R@1 33.3, best epoch 1",
        "train: epoch 1: loss 1.2346",
    ]
