"""What a person reads of a run: short numbers, and never "up to date" beside what is pending."""

import pytest

from reelvec.flows.launch import show
from reelvec.flows.summary import _rounded
from reelvec.tasks.corpus.ledger import LedgerCounts
from reelvec.tasks.runs.outcome import RunOutcome, RunSummary
from reelvec.tasks.scoring.rows import MetricRow

LONG = MetricRow(
    direction="t2v", protocol="single", subset="", metric="R@1", value=200 / 9,
    low=100 / 9, high=100 / 3, n=9,
)  # fmt: skip


def summary(*, ok):
    coverage = LedgerCounts(planned=23, ok=ok, salvaged=0, quarantined=0, pending=23 - ok)
    outcome = RunOutcome(
        name="demo", store="store", coverage=coverage, failures=(), metrics=(LONG,)
    )
    return RunSummary(outcome=outcome)


@pytest.mark.parametrize(
    ("ok", "words"), [(23, "Everything is up to date"), (0, "23 videos are pending")]
)
def test_up_to_date_is_what_has_nothing_pending(capsys, ok, words):
    show(summary(ok=ok))
    assert capsys.readouterr().out.startswith(f"{words}: nothing was done.")


def test_numbers_are_short_wherever_a_person_reads_them(capsys):
    show(summary(ok=23))
    out = capsys.readouterr().out
    assert "22.2" in out and "11.1 – 33.3" in out
    shown = [out, repr(LONG), repr(summary(ok=23)), str(_rounded({"value": LONG.value}))]
    assert not any("22.222" in text or "11.111" in text for text in shown)
    assert "value=22.22, low=11.11, high=33.33" in repr(LONG)
    assert LONG.value == 200 / 9 and summary(ok=23).to_json()["metrics"][0]["value"] == 200 / 9
