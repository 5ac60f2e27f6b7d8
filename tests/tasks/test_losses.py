"""What a publication may take away: refused beyond a bound, accepted by one option."""

import shutil

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import FolderCorpus
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import commit_ingest, ingest_shard, plan_ingest
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
    plan = plan_ingest(session)
    done = [ingest_shard(plan.target, shard, limits=config.extract) for shard in plan.shards]
    commit_ingest(session, plan, receipts(plan, done))
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


def test_a_table_is_not_emptied_without_a_word(config):
    artifact = Session(config).corpus
    keys = [row.key for row in artifact.latest().outcomes("videos")]
    with pytest.raises(TooMuchLostError, match="the corpus names none any more"):
        Session(config).publish(artifact, add=[], supersede={"videos": keys}, note="")
