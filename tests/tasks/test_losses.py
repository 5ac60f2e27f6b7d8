"""What a publication may take away: refused beyond a bound, accepted by one option."""

import shutil
from contextlib import nullcontext

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import FolderCorpus
from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.errors import TooManyFailedError
from reelvec.tasks.corpus.ingest import commit_ingest, ingest_shard, plan_ingest
from reelvec.tasks.corpus.ledger import (
    LedgerCounts,
    LedgerRow,
    LedgerSummary,
    check_failed_fraction,
)
from reelvec.tasks.losses import TooMuchLostError
from reelvec.tasks.runs.plan import plan_reembed
from tests.support.engine_free import receipts, run_ingest
from tests.support.media import encode, painted

VIDEOS = 12


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve tiny videos, each its own bytes."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(VIDEOS):
        frames = painted(2 + number, width=64, height=64)
        encode(folder / f"{number:02d}.mp4", ("-c:v", "mpeg4"), frames=frames, fps=4)
    return folder


@pytest.fixture
def config(drawn, tmp_path):
    """A corpus whose captions name all twelve, ingested once."""
    shutil.copytree(drawn, tmp_path / "videos")
    (tmp_path / "captions.csv").write_text(
        "video_id,path,caption\n"
        + "".join(f"v{n:02d},{n:02d}.mp4,text {n}\n" for n in range(VIDEOS))
    )
    corpus = FolderCorpus(videos=str(tmp_path / "videos"), captions=str(tmp_path / "captions.csv"))
    config = PipelineConfig(store=str(tmp_path / "store"), corpus=corpus)
    run_ingest(config)
    return config


def videos_of(config):
    return Session(config).corpus.latest().counts("videos")


def publish(session, plan):
    limits = session.config.extract
    done = [ingest_shard(plan.target, shard, limits=limits) for shard in plan.shards]
    commit_ingest(session, plan, receipts(plan, done))


def lose(tmp_path, count):
    for number in range(count):
        (tmp_path / "videos" / f"{number:02d}.mp4").unlink()


def test_a_vanished_mount_is_refused_and_the_table_stays(config, tmp_path):
    before = Session(config).corpus.latest().number
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    (tmp_path / "videos").mkdir()
    with pytest.raises(TooMuchLostError, match=r"12 of 12 videos .*\(12 missing\): v00, v01, v02"):
        run_ingest(config)
    assert Session(config).corpus.latest().number == before
    (tmp_path / "videos").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "videos")
    plan, snapshot = run_ingest(config)
    assert (plan.changed, snapshot.number) == ([], before), "the mount is back: nothing to do"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_few_are_always_allowed(config, tmp_path, lost):
    lose(tmp_path, lost)
    planned = {row.why: row.count for row in plan_reembed(Session(config))}
    plan, _ = run_ingest(config)
    assert videos_of(config).quarantined == lost
    assert plan.done == {"new": 0, "changed": 0, "removed": 0, "missing": lost}
    assert planned["videos whose file is missing now"] == lost
    assert "changed videos" not in planned


def test_three_of_twelve_are_too_many_unless_the_bound_says_otherwise(config, tmp_path):
    lose(tmp_path, 3)
    with pytest.raises(TooMuchLostError, match="3 of 12"):
        run_ingest(config)
    run_ingest(config.model_copy(update={"max_lost_fraction": 0.25}))
    assert videos_of(config).quarantined == 3


def test_one_option_accepts_it(config, tmp_path):
    lose(tmp_path, VIDEOS)
    session = Session(config, accepts_losses=True)
    publish(session, plan_ingest(session))
    assert videos_of(config).usable == 0


def test_what_the_corpus_no_longer_names_is_no_loss(config, tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    for number in range(3, VIDEOS):
        (tmp_path / "videos" / f"{number:02d}.mp4").unlink()
    plan, _ = run_ingest(config)
    assert len(plan.removed) == 9
    assert videos_of(config).planned == 3


def test_files_gone_bad_are_lost_too(config, tmp_path):
    for number in range(4):
        (tmp_path / "videos" / f"{number:02d}.mp4").write_bytes(b"")
    with pytest.raises(TooMuchLostError, match="4 empty"):
        run_ingest(config)


def test_rows_that_had_failed_before_are_not_lost_again(config, tmp_path):
    lose(tmp_path, 2)
    run_ingest(config)
    (tmp_path / "videos" / "02.mp4").unlink()
    run_ingest(config)
    assert videos_of(config).quarantined == 3


def test_files_that_changed_and_are_good_are_not_lost(config, tmp_path):
    for number in range(VIDEOS):
        with (tmp_path / "videos" / f"{number:02d}.mp4").open("ab") as stream:
            stream.write(b"\0\0\0\x08free")
    plan, _ = run_ingest(config)
    assert plan.done["changed"] == videos_of(config).ok == VIDEOS


def test_a_retry_that_fails_again_loses_nothing(config, tmp_path):
    lose(tmp_path, 6)
    session = Session(config, accepts_losses=True)
    publish(session, plan_ingest(session))
    session = Session(config)
    publish(session, plan_ingest(session, retry=lambda video: video.status != "ok"))
    assert videos_of(config).quarantined == 6


def test_tables_that_are_made_anew_each_time_lose_nothing(config):
    artifact = Session(config).open("evaluation", {"of": "a test"})
    with artifact.new_part(table="report", shard="s", suffix=".html") as part:
        part.path.write_text("a page")
        artifact.publish(add=[part.commit(rows=1, outcomes=[Outcome(key="report")])])
    Session(config).publish(artifact, add=[], supersede={"report": ["report"]}, note="")
    assert artifact.latest().counts("report").planned == 0


@pytest.mark.parametrize(
    ("failed", "of", "limit", "words"),
    [
        (2, 3, 0.5, r"2 of 3 videos failed \(2 missing\), more than extract.max_failed_fraction"),
        (3, 3, 1.0, "nothing is left to work with"),
        (2, 3, 1.0, ""),
        (1, 2, 0.5, ""),
        (0, 0, 0.5, ""),
    ],
)
def test_a_run_without_enough_videos_does_not_go_on(failed, of, limit, words):
    rows = (row("quarantined", "missing"),) * failed
    seen = LedgerCounts(planned=of, ok=of - failed, salvaged=0, quarantined=failed, pending=0)
    refused = pytest.raises(TooManyFailedError, match=words) if words else nullcontext()
    with refused:
        check_failed_fraction(LedgerSummary(seen, rows), limit=limit)


def row(status, reason):
    named = {"video_id": "v", "path": "p", "split": "", "clip_key": "", "stage": "ingest"}
    return LedgerRow(**named, status=status, reason=reason, message="", detail="", attempts=1)


def test_a_table_is_not_emptied_without_a_word(config):
    artifact = Session(config).corpus
    keys = [row.key for row in artifact.latest().outcomes("videos")]
    with pytest.raises(TooMuchLostError, match="the corpus names none any more"):
        Session(config).publish(artifact, add=[], supersede={"videos": keys}, note="")
