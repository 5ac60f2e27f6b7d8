"""A sweep's runs: one after the other, failed ones as rows, written after each."""

import csv
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from reelvec.flows import launch as launching
from reelvec.flows.console.stopping import Stopped
from reelvec.flows.sweep import run_sweep, write_comparison
from reelvec.storage.errors import StoreError
from reelvec.tasks.corpus.ledger import LedgerCounts
from reelvec.tasks.reports.rendering.comparison import ComparedRun, Comparison, render_comparison
from reelvec.tasks.runs.outcome import RunOutcome, RunSummary
from reelvec.tasks.scoring.rows import MetricRow
from tests.support.command_line import typed

FILE = """
name: headers
run: {preset: demo}
grid:
  model.options.sim_header: [meanP, seqTransf, seqLSTM]
"""
MEAN = {"sim_header": "meanP"}
RECALLS = {"meanP": 20.0, "seqTransf": 40.0, "seqLSTM": 30.0}


def metric(name, value, *, direction="t2v", low=None, high=None, subset=""):
    return MetricRow(
        direction=direction, protocol="single", subset=subset, metric=name, value=value,
        low=low, high=high, n=9,
    )  # fmt: skip


def summary(config):
    """What a run of this header comes to."""
    recall = RECALLS[config.model.options["sim_header"]]
    rows = (
        metric("R@1", recall, low=recall - 5, high=recall + 5),
        metric("R@1", 99.0, subset="twins"),
        metric("MdR", 2.0),
        metric("R@1", recall / 2, direction="v2t"),
    )
    coverage = LedgerCounts(planned=9, ok=9, salvaged=0, quarantined=0, pending=0)
    outcome = RunOutcome(
        name=config.name, store=config.store, coverage=coverage, failures=(), metrics=rows,
        report=f"/store/{config.name}.html",
    )  # fmt: skip
    return RunSummary(outcome=outcome)


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    """`reelvec sweep` with runs that need no video; `runs` are those that were begun."""
    runs = []

    def launch(config, **_):
        runs.append(config.name.rpartition("=")[2])
        fault = faults.get(runs[-1])
        if fault is not None:
            raise fault
        return summary(config)

    monkeypatch.setattr(launching, "launch", launch)
    faults = {}
    path = tmp_path / "headers.yaml"
    path.write_text(FILE)

    def call(*words, **given):
        faults.clear()
        faults.update(given)
        runs.clear()
        return typed(monkeypatch, capsys, "sweep", str(path), "--store", "s", *words)

    call.runs, call.folder = runs, tmp_path / "headers"
    return call


def rows_of(folder):
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_plan_runs_nothing(sweep):
    code, out, _ = sweep("--plan")
    assert code == 0 and "headers: 3 runs" in out and "headers/sim_header=seqLSTM" in out
    assert sweep.runs == [] and not sweep.folder.exists()


def test_every_run_is_compared(sweep):
    code, out, err = sweep()
    assert (code, err) == (0, "") and sweep.runs == ["meanP", "seqTransf", "seqLSTM"]
    shown = [line for line in out.splitlines() if line.startswith(("meanP", "seq"))]
    assert [line.split()[:2] for line in shown] == [
        ["seqTransf", "40.0"], ["seqLSTM", "30.0"], ["meanP", "20.0"],
    ], "best first"  # fmt: skip
    rows = rows_of(sweep.folder)
    assert [row["model.options.sim_header"] for row in rows] == sweep.runs, "in the file's order"
    assert [float(row["t2v/R@1"]) for row in rows] == list(RECALLS.values()), "no subset"
    assert rows[0]["t2v/R@1 low"] == "15.0" and rows[0]["status"] == "done"


def test_a_failed_run_is_a_row_and_not_the_end(sweep):
    code, out, err = sweep(seqTransf=StoreError("the disk is\x1b full"))
    assert code == 1 and sweep.runs == ["meanP", "seqTransf", "seqLSTM"]
    assert "headers/sim_header=seqTransf failed: the disk is\\x1b full" in err
    assert "1 of 3 runs failed" in err and "the disk is" in out
    failed = rows_of(sweep.folder)[1]
    assert (failed["status"], failed["t2v/R@1"]) == ("failed", "")
    code, _, _ = sweep()
    assert code == 0 and [row["status"] for row in rows_of(sweep.folder)] == ["done"] * 3


def test_also_what_is_nobodys_fault_is_a_row(sweep):
    code, _, err = sweep(meanP=ZeroDivisionError())
    assert code == 1 and "ZeroDivisionError" in err and len(sweep.runs) == 3


def test_ctrl_c_ends_it_and_what_is_done_was_told():
    """A signal is no failed run: the command line ends with 130, as ever."""
    told = []

    def run(config):
        if config.name == "b":
            raise Stopped
        return summary(SimpleNamespace(name="a", store="s", model=SimpleNamespace(options=MEAN)))

    runs = [SimpleNamespace(label=n, values={}, config=SimpleNamespace(name=n)) for n in "abc"]
    with pytest.raises(Stopped):
        run_sweep(SimpleNamespace(runs=runs), run=run, done=lambda rows: told.append(list(rows)))
    assert [[row.name for row in rows] for rows in told] == [["a"]]


def test_a_folder_that_cannot_be_written_is_said(sweep, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = sweep("--out", str(tmp_path / "file" / "below"))
    assert code == 2 and "cannot be made a folder: Not a directory" in err and sweep.runs == []


def test_what_is_no_sweep_is_a_wrong_call(monkeypatch, capsys, tmp_path):
    code, _, err = typed(monkeypatch, capsys, "sweep", "demo")
    assert code == 2 and "ends in .yaml" in err


class Seen(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.addresses = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_compares_and_loads_nothing(tmp_path):
    runs = (
        ComparedRun(name="x/a", label="a", values={"k": 1}, metrics=(metric("R@1", 5.0),)),
        ComparedRun(
            name="x/b", label="b", values={"k": {"deep": [1]}},
            metrics=(metric("R@1", 50.0, low=40.0, high=60.0),),
        ),
        ComparedRun(name="x/c", label="c", values={"k": "<b>&"}, error="<script>no</script>"),
    )  # fmt: skip
    comparison = Comparison("x <i>", ("k",), runs, planned=4)
    page = render_comparison(comparison).decode()
    seen = Seen(page)
    words = " ".join(seen.words)
    assert "3 of 4 runs, 1 failed" in words and "<script>no</script>" in words
    assert "script" not in seen.tags and seen.addresses == []
    assert page.index("40.0 – 60.0") < page.index(">5.0<"), "best first"
    assert 'k={"deep": [1]}' in words and "prefers-color-scheme: dark" in page
    assert render_comparison(comparison).decode() == page
    table, _ = write_comparison(comparison, tmp_path)
    assert table.read_text().count("\n") == 4


def test_without_any_number_there_is_still_a_page():
    failed = ComparedRun(name="x/c", label="c", values={"k": 1}, error="no disk")
    page = render_comparison(Comparison("x", ("k",), (failed,), planned=1)).decode()
    assert "no disk" in page and "<svg" not in page


def test_runs_are_told_as_they_come():
    runs = tuple(
        SimpleNamespace(label=name, values={}, config=SimpleNamespace(name=name)) for name in "ab"
    )
    told = []

    def broken(_):
        raise ValueError("no")

    run_sweep(SimpleNamespace(runs=runs), run=broken, done=lambda rows: told.append(len(rows)))
    assert told == [1, 2]
