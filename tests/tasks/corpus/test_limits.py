"""The limits of a run hold while its videos are hashed and probed, as while they are decoded."""

import pytest

from reelvec.configs import PipelineConfig
from reelvec.flows import stages
from reelvec.flows.own_engine import open_own_engine
from reelvec.storage.records import Video
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.decoding import files

TERABYTE = 1 << 40


@pytest.fixture
def config(tmp_path):
    """A run over one file of a terabyte of zeros, which takes no space and minutes to hash."""
    (tmp_path / "videos").mkdir()
    with (tmp_path / "videos" / "endless.mp4").open("wb") as file:
        file.truncate(TERABYTE)
    return PipelineConfig.model_validate(
        {
            "store": str(tmp_path / "store"),
            "corpus": {"kind": "folder", "videos": str(tmp_path / "videos")},
            "extract": {"deadline_seconds": 1.0, "no_progress_seconds": 0.5, "memory_mb": 300},
        }
    )


def test_ingest_gives_a_video_up_at_the_deadline(config):
    session = Session(config)
    with open_own_engine(threads=1, dask_address=None) as engine:
        stages.STAGES["ingest"](session, None, engine)
    (video,) = read_corpus(session).videos
    assert (video.status, video.reason) == ("quarantined", "timeout")
    assert "1 s; extract.deadline_seconds" in video.message


def test_all_limits_of_a_run_are_those_of_probing(config, monkeypatch):
    given = []

    class Watched(files.Sandbox):
        def __init__(self, target, *, options):
            given.append(options.limits)
            super().__init__(target, options=options)

    monkeypatch.setattr(files, "Sandbox", Watched)
    list(files.probe_files([Video("gone", "/nowhere.mp4")], limits=config.extract))
    assert given == [config.extract]
    assert given[0].no_progress_seconds == 0.5
    assert given[0].memory_mb == 300
