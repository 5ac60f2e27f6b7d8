"""Sweep files: the same runs under the same names, each checked before any work."""

import pytest

from reelvec.configs import ConfigError
from reelvec.configs.sweeps import load_sweep

GRID = """
name: headers
run: {preset: demo, train: {epochs: 7}}
grid:
  model.options.sim_header: [meanP, seqTransf]
  train.seed: [1, 2, 3]
"""
DRAWS = """
name: draws
run: {preset: demo}
random:
  runs: 12
  seed: 3
  keys:
    train.learning_rate: {low: 1.0e-5, high: 1.0e-3, scale: log}
    train.epochs: {low: 1, high: 3, whole: true}
    train.captions: [all, one_per_video]
"""


@pytest.fixture
def sweep(tmp_path):
    def load(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return load_sweep(path, store="a store")

    return load


def test_a_grid_is_every_combination_in_the_order_of_the_file(sweep):
    found = sweep(GRID)
    assert found.keys == ("model.options.sim_header", "train.seed")
    assert [run.label for run in found.runs] == [
        f"sim_header={header},seed={seed}"
        for header in ("meanP", "seqTransf")
        for seed in (1, 2, 3)
    ]
    last = found.runs[-1].config
    assert last.name == "headers/sim_header=seqTransf,seed=3" and last.store == "a store"
    assert (last.model.options["sim_header"], last.train.seed) == ("seqTransf", 3)
    assert last.train.epochs == 7, "what all share"


def test_the_store_is_the_files_unless_another_is_named(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("{name: x, run: {preset: demo, store: ours}, grid: {train.seed: [1, 2]}}")
    assert {run.config.store for run in load_sweep(path, store=None).runs} == {"ours"}
    assert {run.config.store for run in load_sweep(path, store="st").runs} == {"st"}


def test_draws_are_the_same_each_time_and_more_only_add(sweep):
    first, again = sweep(DRAWS), sweep(DRAWS)
    more = sweep(DRAWS.replace("runs: 12", "runs: 20"))
    labels = [run.label for run in first.runs]
    assert labels == [run.label for run in again.runs]
    assert [run.label for run in more.runs][: len(labels)] == labels
    assert labels != [run.label for run in sweep(DRAWS.replace("seed: 3", "seed: 4")).runs]


def test_draws_lie_in_their_range_and_are_in_the_name_whole(sweep):
    found = sweep(DRAWS.replace("runs: 12", "runs: 300"))
    rates = [run.values["train.learning_rate"] for run in found.runs]
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert 0.4 < sum(rate < 1e-4 for rate in rates) / len(rates) < 0.6, "as often below as above"
    assert {run.values["train.epochs"] for run in found.runs} == {1, 2, 3}
    for run in found.runs:
        said = dict(word.split("=") for word in run.label.split(","))
        assert float(said["learning_rate"]) == run.config.train.learning_rate


def test_draws_that_agree_are_one_run(sweep):
    text = DRAWS.replace("    train.learning_rate: {low: 1.0e-5, high: 1.0e-3, scale: log}\n", "")
    assert len(sweep(text).runs) <= 6


def test_equal_last_parts_are_told_apart(sweep):
    text = "name: x\nrun: {preset: demo}\ngrid: {train.device: [cpu], embed.device: [cpu, auto]}"
    labels = [run.label for run in sweep(text).runs]
    assert labels == ["train.device=cpu,embed.device=cpu", "train.device=cpu,embed.device=auto"]


def test_long_names_are_cut_and_stay_apart(sweep):
    values = [f"{'n' * 90}{i}" for i in range(3)]
    text = f"name: x\nrun: {{preset: demo}}\ngrid: {{notes: {values}}}"
    labels = [run.label for run in sweep(text).runs]
    assert len(set(labels)) == 3 and all(len(label) <= 80 for label in labels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x", "key (run) is missing"),
        ("name: x\nrun: {preset: demo}", "give grid: or random:"),
        ("name: x\nrun: {preset: demo}\ngrdi: {train.epochs: [1]}", "did you mean (grid)"),
        ("name: x\nrun: {preset: demo}\ngrid: {train.epoch: [1]}", "did you mean (epochs)"),
        ("name: x\nrun: {preset: demo}\ngrid: {train.epochs: []}", "grid.train.epochs"),
        ("name: x\nrun: {preset: demo}\ngrid: {train.epochs: [1, 1]}", "(epochs=1) twice"),
        ("name: x\nrun: {preset: demo}\ngrid: {train.epochs: [1, soon]}", "run epochs=soon"),
        ("name: x\nrun: {preset: demo}\ngrid: {store: [a]}", "(store) cannot be varied"),
        ("name: x\nrun: {}\ngrid: {train.epochs: [1]}", "names no corpus"),
        ("name: x\nrun: {preset: demo, train: 3}\ngrid: {train.epochs: [1]}", "is a value"),
        ("name: ../x\nrun: {preset: demo}\ngrid: {train.epochs: [1]}", "key (name)"),
        ("name: x\nrun: {preset: demo}\ngrid: {train.seed: [1], name: [a]}", "(name) cannot be"),
        (DRAWS.replace("low: 1.0e-5", "low: 1.0"), "must be below high"),
        (DRAWS.replace("low: 1.0e-5", "low: 0"), "needs low above 0"),
        (DRAWS.replace("runs: 12", "runs: 0"), "random.runs"),
        (DRAWS.replace("runs: 12", "runs: 5000"), "random.runs"),
        (
            "name: x\nrun: {preset: demo}\ngrid: {train.seed: "
            f"{list(range(40))}, train.epochs: {list(range(40))}}}",
            "more than 1,000",
        ),
    ],
)
def test_what_cannot_be_swept_is_said_before_any_work(sweep, text, words):
    with pytest.raises(ConfigError) as caught:
        sweep(text)
    assert words in str(caught.value) and "function-after" not in str(caught.value)
