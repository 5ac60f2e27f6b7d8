"""What failed, why, and how it is tried again: the ledger as a person and a script see it."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime

import pytest

from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.errors import TooManyFailedError
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.corpus.ledger import (
    LedgerCounts,
    LedgerRow,
    LedgerSummary,
    check_failed_fraction,
    ledger,
)
from reelvec.tasks.runs.recording import record_run
from reelvec.tasks.runs.retrying import RetryFilter, UnknownVideoError
from tests.drills.bitflips import config_of, draw
from tests.support.command_line import typed
from tests.support.engine_free import run_extract, run_ingest, stage_receipts


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A store after one run: three good videos, one cut, one empty, one that is text."""
    folder = tmp_path_factory.mktemp("failures")
    videos, write_captions = draw(folder, videos=5)
    write_captions(videos)
    names = [path.name for path in sorted((folder / "videos").iterdir())]
    cut, empty = folder / "videos" / names[0], folder / "videos" / names[1]
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 7 // 10])
    empty.write_bytes(b"")
    (folder / "videos" / "text.mp4").write_text("no video at all")
    with (folder / "captions.csv").open("a") as file:
        file.write("\ntext,text.mp4,nothing to see")
    config = config_of(folder, folder / "store")
    run_ingest(config)
    run_extract(config)
    session = Session(config)
    made = {"ingest": session.corpus.latest(), "extract": session.frames.latest()}
    record_run(session, stage_receipts(made), started=datetime.now(UTC))
    return config


@pytest.fixture
def reelvec(monkeypatch, capsys):
    def call(*words):
        return typed(monkeypatch, capsys, *words)

    return call


def test_failures_as_json_say_reason_words_and_attempts(config, reelvec):
    code, out, _ = reelvec("failures", "--store", config.store, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["counts"] == {
        "planned": 6, "ok": 3, "salvaged": 0, "quarantined": 3, "pending": 0,
    }  # fmt: skip
    rows = {row["reason"]: row for row in found["failures"]}
    assert len(rows) == len(found["failures"]) == 3
    assert {"empty", "unreadable"} < set(rows)
    for row in rows.values():
        assert (row["status"], row["attempts"]) == ("quarantined", 1)
        assert row["message"] and row["path"] and row["video_id"]
        assert row["stage"] in ("ingest", "extract")
    assert rows["unreadable"]["video_id"] == "text"


def test_failures_for_a_person_name_reason_and_counts(config, reelvec):
    code, out, _ = reelvec("failures", "--store", config.store)
    assert code == 0
    for word in ("text", "unreadable", "empty", "6 planned", "3 quarantined"):
        assert word in out


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {"quarantined"}),
        ({"reasons": ("empty",)}, {"empty"}),
        ({"videos": ("text",)}, {"text"}),
        ({"reasons": ("empty",), "videos": ("text",)}, set()),
    ],
)
def test_retry_takes_what_it_names_and_nothing_else(config, filters, names):
    due = RetryFilter(**filters).check().at_ingest()
    videos = read_corpus(Session(config)).videos
    chosen = [video for video in videos if due(video)]
    if names == {"quarantined"}:
        assert chosen == [video for video in videos if video.status == "quarantined"]
    else:
        assert all(video.reason in names or video.video_id in names for video in chosen)
        assert len(chosen) == len(names)


def test_a_clip_that_is_tried_again_counts_its_attempts(config, tmp_path):
    again = config.model_copy(update={"store": str(tmp_path / "store")})
    shutil.copytree(config.store, again.store)
    corpus = read_corpus(Session(again))
    good = next(video for video in corpus.videos if video.status == "ok")
    rows = list(ledger(corpus, frames=run_extract(again)[1]))
    failed = [row for row in rows if row.stage == "extract" and row.status == "quarantined"]
    retry = RetryFilter(videos=(good.video_id, *(row.video_id for row in failed)))
    plan, snapshot = run_extract(again, retry=retry.at_extract(corpus))
    assert plan.clips == len(failed), "a video that is ok is not decoded again"
    for row in failed:
        assert snapshot.live("frames")[row.clip_key].attempts == 2


def test_a_video_that_did_not_fail_is_not_retried(config, reelvec):
    code, out, err = reelvec("retry", "--store", config.store, "--video", "texd")
    assert (code, out) == (1, "")
    assert "no failed video is called (texd); the nearest are (text)" in err
    good = next(v for v in read_corpus(Session(config)).videos if v.status == "ok")
    retry = RetryFilter(videos=("text", good.video_id))
    with pytest.raises(UnknownVideoError, match=rf"called \({good.video_id}\)"):
        retry.check_videos({"text"})
    with pytest.raises(UnknownVideoError, match=r"called \(text\); no video failed"):
        retry.check_videos(set())
    assert RetryFilter(videos=("text",)).check_videos({"text", "other"})
    assert RetryFilter().check_videos(set())


def rows_of(**reasons):
    good = LedgerRow("v", "p", "", "k", "extract", "ok", "", "", "", 1)
    bad = [
        LedgerRow("v", "p", "", "k", "extract", "quarantined", reason, "m", "", 1)
        for reason, count in reasons.items()
        for _ in range(count)
    ]
    return summary_of([good] * (10 - len(bad)) + bad)


def summary_of(rows):
    seen = Counter(row.status for row in rows)
    kinds = ("ok", "salvaged", "quarantined", "pending")
    counts = LedgerCounts(planned=len(rows), **{kind: seen[kind] for kind in kinds})
    looked_at = ("salvaged", "quarantined")
    return LedgerSummary(counts, tuple(row for row in rows if row.status in looked_at))


def test_the_threshold_is_the_largest_part_that_may_fail():
    check_failed_fraction(rows_of(timeout=2, empty=1), limit=0.3)
    check_failed_fraction(summary_of([]), limit=0.0)
    with pytest.raises(TooManyFailedError, match=r"3 of 10 .*\(2 timeout, 1 empty\).*0\.29"):
        check_failed_fraction(rows_of(timeout=2, empty=1), limit=0.29)


def test_pending_and_salvaged_videos_did_not_fail():
    kinds = [("salvaged", "truncated"), ("pending", "")]
    rows = [LedgerRow("v", "p", "", "k", "extract", *kind, "", "", 1) for kind in kinds]
    check_failed_fraction(summary_of(rows), limit=0.0)


def test_too_many_failures_are_exit_code_three(config, reelvec, monkeypatch):
    def fail(*_, **__):
        check_failed_fraction(rows_of(memory=9), limit=0.5)

    monkeypatch.setattr("reelvec.flows.launch.retry_failed", fail)
    code, out, err = reelvec("retry", "--store", config.store, "--reason", "memory")
    assert (code, out) == (3, "")
    assert "9 of 10 videos failed (9 memory)" in err and "reelvec retry" in err


def test_every_reason_may_be_retried():
    assert RetryFilter(reasons=("timeout", "crashed")).check()
    due = RetryFilter(reasons=("timeout",)).at_extract(corpus=_nobody())
    assert due(Outcome("k", "quarantined", "timeout")) is True
    assert due(Outcome("k", "quarantined", "memory")) is False
    assert due(Outcome("k", "ok")) is False


def _nobody():
    from reelvec.tasks.artifacts import SnapshotRef
    from reelvec.tasks.corpus.ingest import Corpus

    return Corpus(SnapshotRef("", "corpus", "", 0), [], [])
