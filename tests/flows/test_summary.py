"""What a run is shown as in Prefect's UI: keys, tables, a picture, and the state it ends in."""

import base64
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from prefect import State

from reelvec.flows import costs, summary
from reelvec.flows.costs import TrainingCost, cost_rows, cost_words
from reelvec.flows.recall_curve import recall_curve, recall_picture
from reelvec.flows.showing import key_of, page_link, plain
from reelvec.storage.reasons import Reason
from reelvec.tasks.corpus.ledger import LedgerCounts, LedgerRow
from reelvec.tasks.corpus.remedies import REMEDIES
from reelvec.tasks.runs.outcome import RunOutcome, RunSummary
from reelvec.tasks.scoring.rows import MetricRow
from reelvec.tasks.spending import Spending


def outcome(name="clips", **more):
    failed = LedgerRow(
        video_id="a|b", path="/srv/a.mp4", split="", clip_key="", stage="extract",
        status="quarantined", reason="timeout", message="*slow*", detail="", attempts=1,
    )  # fmt: skip
    coverage = LedgerCounts(planned=10, ok=9, salvaged=0, quarantined=1, pending=0)
    given = {"name": name, "store": "s", "coverage": coverage, "failures": (failed,)} | more
    return RunSummary(outcome=RunOutcome(**given))


def metric(name, value, direction="t2v", protocol="single", subset=""):
    return MetricRow(
        direction=direction, protocol=protocol, subset=subset, metric=name, value=value
    )


RECALLS = [metric("R@1", 100 / 3), metric("R@10", 80.0), metric("R@5", 60.0), metric("MdR", 2.0)]


@pytest.fixture
def shown(monkeypatch):
    """{key: what the artifact holds}."""
    artifacts = {}

    def keep(content, *, key, description):
        artifacts[key] = content

    for kind in ("markdown", "table", "image"):
        monkeypatch.setattr(summary, f"create_{kind}_artifact", keep)
    return artifacts


def test_histories_of_runs_do_not_mix(shown):
    for name in ("clips", "Clips", "my clips", "my-clips", "映画", "клипы", "-", ""):
        summary.publish_summary(outcome(name))
    keys = [key for key in shown if key.startswith("summary")]
    assert len(keys) == 8 and "summary-clips" in keys and "summary-my-clips" in keys
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in shown)
    assert max(map(len, (key_of("summary", run="a b " * 200), *keys))) < 90


def test_failures_have_the_file_and_the_remedy(shown):
    summary.publish_summary(outcome())
    (row,) = shown["failures-clips"]
    assert (row["video"], row["file"], row["reason"]) == ("a|b", "/srv/a.mp4", "timeout")
    assert "extract.deadline_seconds" in row["remedy"]
    assert set(REMEDIES) == set(Reason)
    assert all(words for reason, words in REMEDIES.items() if reason)


def test_names_are_no_markup(shown):
    assert plain("a|b\n<img src=x> [c](http://d) `e`") == (
        r"a\|b \<img src=x\> \[c\](http://d) \`e\`"
    )
    summary.publish_summary(outcome("<b>[x](http://y)"))
    (text,) = [text for key, text in shown.items() if key.startswith("summary")]
    assert "<b>" not in text and "[x](" not in text


def test_links_lead_to_the_page_where_there_is_one(shown, monkeypatch):
    monkeypatch.delenv("REELVEC_PAGE_URL", raising=False)
    assert page_link("search it", run="clips") == ""
    monkeypatch.setenv("REELVEC_PAGE_URL", "javascript:alert(1)")
    assert page_link("search it", run="clips") == ""
    monkeypatch.setenv("REELVEC_PAGE_URL", "http://videos:8765/")
    summary.publish_summary(outcome("my clips"))
    (text,) = [text for key, text in shown.items() if key.startswith("summary")]
    assert "[its failures](http://videos:8765/?run=my%20clips&view=failures)" in text


def test_the_recall_curve_is_a_picture_by_itself(shown):
    summary.publish_summary(outcome(metrics=(*RECALLS, metric("R@1", 1.0, subset="motion"))))
    kind, _, data = shown["recall-clips"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    root = ElementTree.fromstring(base64.b64decode(data))  # noqa: S314 - our own
    words = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {"33.3", "60.0", "80.0", "text to video", "Recall of clips"} <= set(words)
    assert "video to text" not in words
    assert recall_curve(RECALLS, direction="t2v") == [(1, 100 / 3), (5, 60.0), (10, 80.0)]
    assert recall_picture(RECALLS[:1], title="one point is no curve") == ""


def test_many_failures_end_in_a_state_that_stands_out():
    fine, bad = outcome(), outcome(degraded=True)
    assert summary.ended(fine) is fine
    state = summary.ended(bad)
    assert isinstance(state, State) and state.is_completed() and state.name == "Degraded"
    assert state.message.startswith("1 of 10 videos are quarantined") and state.data is bad


def stage(name, *, seconds, slots=1, **spent):
    spent = {what.replace("_", " "): value for what, value in spent.items()}
    return SimpleNamespace(stage=name, seconds=seconds, slots=slots, spent=spent)


def test_a_stages_ceiling_is_its_busiest_resource():
    stages = [
        stage("extract", seconds=10.0, slots=4, decode=36.0, store_write=2.0),
        stage("evaluate", seconds=1.0),
        stage("embed", seconds=8.0, store_read=6.0, encoder=1.0),
    ]
    extract, embed = cost_rows(stages)
    assert (extract["ceiling"], extract["reached"]) == (9.0, "90%")
    assert (extract["held back by"], extract["decode, s"]) == ("decode", 36.0)
    assert (embed["held back by"], embed["reached"], embed["decode, s"]) == (
        "store read", "75%", ""
    )  # fmt: skip
    assert list(extract) == list(embed)
    assert cost_words(stages).endswith(
        "extract: decode, 90% of the time; embed: store read, 75% of the time"
    )


def test_seconds_within_others_count_once(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("reelvec.tasks.spending.time.monotonic", lambda: next(clock))
    spending = Spending()
    with spending.on("decode"), spending.on("store write"):
        pass
    assert spending.seconds == {"store write": 3.0, "decode": 7.0}


def test_a_trainings_seconds_are_steps_or_waiting(monkeypatch):
    clock = iter([0.0, 4.0, 10.0])
    monkeypatch.setattr(costs.time, "monotonic", lambda: next(clock))
    cost = TrainingCost()
    for event in ({"event": "start"}, {"event": "step", "data_wait": 0.25},
                  {"event": "step", "data_wait": 0.5}):  # fmt: skip
        cost.follow(event)
    assert cost.spent == {"training step": 6.0, "waiting for data": 4.0}
