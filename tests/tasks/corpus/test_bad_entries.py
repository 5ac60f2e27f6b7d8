"""One bad directory entry is one row with a reason; the run goes on."""

import os
import shutil

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from tests.support.engine_free import run_ingest


@pytest.mark.parametrize("captioned", [False, True])
def test_a_link_to_itself_is_missing_and_the_rest_is_read(tmp_path, captioned):
    drawn = SyntheticCorpus(videos=1, seconds=0.5, fps=4, size=64)
    (clip,) = open_corpus(drawn, store_dir=tmp_path / "drawn").read().videos
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(clip.path, videos / "good.mp4")
    (videos / "loop.mp4").symlink_to("loop.mp4")
    (videos / "gone.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(videos / "pipe.mp4")
    corpus = {"kind": "folder", "videos": str(videos)}
    if captioned:
        rows = "".join(f"{name},x\n" for name in ("good", "loop", "gone", "pipe"))
        (tmp_path / "c.csv").write_text("video_id,caption\n" + rows)
        corpus["captions"] = str(tmp_path / "c.csv")
    config = PipelineConfig.model_validate({"store": str(tmp_path / "store"), "corpus": corpus})
    run_ingest(config)
    found = {v.video_id: v.reason or v.status for v in read_corpus(Session(config)).videos}
    assert found == {"good": "ok", "loop": "missing", "gone": "missing", "pipe": "unreadable"}
