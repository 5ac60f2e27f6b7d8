"""A run of twelve videos in three parts: two failed, one was replaced, one lost a caption."""

import pytest

from reelvec.storage.records import Outcome
from reelvec.tasks.exports.source import ExportSource
from tests.support.small_store import commit, make_store, plain_captions, plain_videos

FAILED = {"v005": Outcome("", "quarantined", "corrupt", "no keyframe")}


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory):
    """(source, ids of the videos in order, ids of the captions in order)."""
    folder = tmp_path_factory.mktemp("exported")
    videos = plain_videos(12)
    captions = [c for c in plain_captions(videos, each=2) if c.video_id != "v007"]
    made = make_store(folder, videos=videos, captions=captions, failed=FAILED, parts=3)
    return supersede(made)


def supersede(made):
    """v001 is embedded again, and the second caption of v002 is gone."""
    artifact = made.embeddings.artifact
    rows = {table: _rows(made, table) for table in ("videos", "captions")}
    again = rows["videos"].filter(_is(rows["videos"], "video_id", "v001"))
    new = [("videos", again, [Outcome("v001")], "again")]
    gone = {"videos": {"v001"}, "captions": {"v002-1"}}
    embeddings = commit(artifact, new, supersede=gone)
    source = ExportSource(
        run="fake",
        identifier="0123abcd",
        config=made.config,
        embeddings=embeddings,
        corpus=made.corpus.ref.open(),
        frames=made.frames,
    )
    videos = [name for name in rows["videos"].column("video_id").to_pylist() if name != "v001"]
    captions = rows["captions"].column("caption_id").to_pylist()
    return source, [*videos, "v001"], [name for name in captions if name != "v002-1"]


def _rows(made, table):
    from reelvec.storage.tables import read_table

    return read_table(made.embeddings, table)


def _is(rows, column, value):
    import pyarrow.compute as pc

    return pc.equal(rows.column(column), value)
