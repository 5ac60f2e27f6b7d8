"""What ingest has to write, against a naive twin that holds every row in a dict."""

import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.corpora.caption_list import CaptionList, CaptionStretch
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import write_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus import caption_changes as of_captions
from reelvec.tasks.corpus import ingest
from reelvec.tasks.corpus.caption_changes import caption_changes
from reelvec.tasks.corpus.changes import video_changes
from reelvec.tasks.corpus.ingest import plan_ingest, read_corpus
from reelvec.tasks.corpus.listed_columns import ListedColumns
from tests.support.engine_free import run_ingest

IDS = st.sampled_from([f"v{n}" for n in range(5)])
CAPTIONS = st.lists(
    st.builds(
        lambda video, number, text, subset: Caption(f"{video}#{number}", video, text, subset),
        IDS, st.integers(0, 3), st.sampled_from("xyz"), st.sampled_from(["", "short"]),
    ),
    unique_by=lambda caption: caption.caption_id,
)  # fmt: skip
VIDEOS = st.lists(
    st.builds(
        lambda video, path, split, start, status: Video(
            video, f"/nowhere/{path}", split, "hash", start_seconds=start, status=status
        ),
        IDS, st.sampled_from("pq"), st.sampled_from(["", "train"]),
        st.sampled_from([None, 1.0]), st.sampled_from(["ok", "quarantined"]),
    ),
    unique_by=lambda video: video.video_id,
)  # fmt: skip


def stored(root, videos, captions, parts=2):
    """A snapshot with the rows in several parts."""
    artifact = Artifact.open(root, kind="corpus", identity={"corpus": 1})
    receipts = []
    numbers = count()
    for table, rows, schema in (
        ("videos", videos, VIDEO_SCHEMA),
        ("captions", captions, CAPTION_SCHEMA),
    ):
        for some in (rows[part::parts] for part in range(parts)):
            with artifact.new_part(table=table, shard=str(next(numbers)), suffix=".parquet") as new:
                write_table(new.path, records_to_table(some, schema=schema), metadata={})
                keys = [getattr(row, schema.names[0]) for row in some]
                receipts.append(new.commit(rows=len(some), outcomes=[Outcome(key) for key in keys]))
    return artifact.publish(add=[receipt for receipt in receipts if receipt.outcomes])


def index(videos):
    return ListedColumns.of(videos).ids


def naive_captions(listed, known):
    old = {caption.caption_id: caption for caption in known}
    due = [caption for caption in listed if old.get(caption.caption_id) != caption]
    here = {caption.caption_id for caption in listed}
    changed = [caption.caption_id for caption in due if caption.caption_id in old]
    return due, changed, {key for key in old if key not in here}


@settings(max_examples=80, deadline=None)
@given(before=CAPTIONS, now=CAPTIONS, rows=st.integers(1, 9))
def test_captions_are_compared_as_a_dict_would(tmp_path_factory, before, now, rows):
    root = open_root(tmp_path_factory.mktemp("store"))
    videos = index([Video(video, "p") for video in sorted({c.video_id for c in now})])
    snapshot = stored(root, [Video("other", "p")], before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_captions, "_ROWS", rows)
        found = caption_changes(now, ids=videos, snapshot=snapshot)
    due, changed, removed = naive_captions(now, before)
    assert (list(found.due), found.changed) == (due, changed)
    assert set(found.removed) == removed and len(found.removed) == len(removed)


def naive_videos(listed, known, again):
    """Files of these paths are not there: bytes and mtime of now are 0."""
    old = {video.video_id: video for video in known}
    due = []
    for video in listed:
        row = old.get(video.video_id)
        if row is None or row.path != video.path or again(row):
            due.append(video)
        elif (row.split, row.start_seconds) != (video.split, video.start_seconds):
            due.append(replace(row, split=video.split, start_seconds=video.start_seconds))
    here = {video.video_id for video in listed}
    changed = [video.video_id for video in due if video.video_id in old]
    return due, changed, {key for key in old if key not in here}


@settings(max_examples=80, deadline=None)
@given(before=VIDEOS, now=VIDEOS)
def test_videos_are_compared_as_a_dict_would(tmp_path_factory, before, now):
    root = open_root(tmp_path_factory.mktemp("store"))
    snapshot = stored(root, before, [Caption("c", "v0", "x")])
    now = [replace(video, content_hash="", status="ok") for video in now]

    def again(row):
        return row.status == "quarantined"

    found = video_changes(ListedColumns.of(now), snapshot=snapshot, retry=again)
    due, changed, removed = naive_videos(now, before, again)
    assert (found.due, found.changed, set(found.removed)) == (due, changed, removed)
    assert found.new == len(due) - len(changed)


def test_two_captions_that_swap_their_texts_are_both_changed(tmp_path):
    before = [Caption("v0#0", "v0", "x"), Caption("v0#1", "v0", "y")]
    snapshot = stored(open_root(tmp_path), [Video("v0", "p")], before)
    now = [Caption("v0#0", "v0", "y"), Caption("v0#1", "v0", "x")]
    found = caption_changes(now, ids=index([Video("v0", "p")]), snapshot=snapshot)
    assert (found.due, found.changed) == (tuple(now), ["v0#0", "v0#1"])


def test_a_first_ingest_takes_the_listing_as_it_is(tmp_path):
    listed = CaptionList(chunk=2)
    for number in range(5):
        listed.append(Caption(f"v#{number}", "v", "x"))
    found = caption_changes(listed, ids=index([Video("v", "p")]), snapshot=None)
    assert found.due is listed


def test_a_stretch_reads_its_own_captions_only_and_travels_by_value():
    captions = CaptionList(chunk=3)
    for number in range(8):
        captions.append(Caption(f"v#{number}", "v", "x"))
    stretch = CaptionStretch(captions, 3, 6)
    read = []
    captions._read = lambda number, own=captions._read: read.append(number) or own(number)
    assert [caption.caption_id for caption in stretch] == ["v#3", "v#4", "v#5"]
    assert read == [1]
    assert (len(stretch), stretch[-1].caption_id) == (3, "v#5")
    assert pickle.loads(pickle.dumps(stretch)) == tuple(stretch)
    assert len(CaptionStretch(captions, 6, 99)) == 2


def config_of(folder, file):
    corpus = {"kind": "folder", "videos": str(folder), "captions": str(file)}
    return PipelineConfig.model_validate({"store": str(folder / "store"), "corpus": corpus})


def write_captions(file, texts):
    rows = [{"video_id": video, "caption": text} for video, text in texts]
    pq.write_table(pa.Table.from_pylist(rows), file)


@pytest.mark.parametrize("grouped", [True, False])
def test_captions_beyond_a_chunk_are_ingested_as_few_are(tmp_path, monkeypatch, grouped):
    """Captions on disk and in several shards: the same rows, and each change costs its own."""
    monkeypatch.setattr(CaptionList.__init__, "__kwdefaults__", {"chunk": 4})
    monkeypatch.setattr(ingest, "CAPTIONS_A_SHARD", 4)
    (tmp_path / "v0.mp4").write_bytes(b"")
    texts = [(f"v{n // 5 if grouped else n % 6}", f"text {n}") for n in range(30)]
    config = config_of(tmp_path, tmp_path / "c.parquet")
    write_captions(tmp_path / "c.parquet", texts)
    plan, snapshot = run_ingest(config)
    assert [len(s.items) for s in plan.shards if s.table == "captions"] == [4] * 7 + [2]
    assert len(snapshot.parts("captions")) == 8
    corpus = read_corpus(Session(config))
    assert [(c.video_id, c.text) for c in corpus.captions] == texts
    assert (len(corpus.captions), corpus.captions[-1].text) == (30, "text 29")
    again, same = run_ingest(config)
    assert (again.shards, same.number) == ([], snapshot.number)
    texts[7] = (texts[7][0], "another text")
    write_captions(tmp_path / "c.parquet", [*texts, ("new", "of a new video")])
    grown, latest = run_ingest(config)
    assert (grown.new, grown.captions, len(grown.changed_captions)) == (1, 2, 1)
    kept = {entry.checksum for entry in snapshot.entries}
    assert kept <= {entry.checksum for entry in latest.entries}, "growth rewrote a part"
    found = {c.text for c in read_corpus(Session(config)).captions}
    assert found == {text for _, text in texts} | {"of a new video"}


def test_an_interrupted_ingest_adopts_the_captions_it_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "CAPTIONS_A_SHARD", 4)
    (tmp_path / "v0.mp4").write_bytes(b"")
    config = config_of(tmp_path, tmp_path / "c.parquet")
    write_captions(tmp_path / "c.parquet", [("v0", f"text {n}") for n in range(10)])
    plan = plan_ingest(Session(config))
    shard = [shard for shard in plan.shards if shard.table == "captions"][1]
    ingest.ingest_shard(plan.target, shard, limits=config.extract)  # then: kill -9
    resumed, _ = run_ingest(config)
    names = [s.name for s in plan.shards if s.name != shard.name]
    assert [s.name for s in resumed.shards] == names
    assert len(read_corpus(Session(config)).captions) == 10


def test_videos_are_shared_out_and_stay_in_their_order(tmp_path, monkeypatch):
    """Of four shards the third was done before the run was killed."""
    monkeypatch.setattr(ingest, "LEAST_A_SHARD", 2)
    ids = [f"v{n}" for n in range(7)]
    for name in ids:
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    write_captions(tmp_path / "c.parquet", [("v0", "some text")])
    config = config_of(tmp_path, tmp_path / "c.parquet")
    plan = plan_ingest(Session(config))
    assert [len(shard.items) for shard in plan.shards if shard.table == "videos"] == [2, 2, 2, 1]
    ingest.ingest_shard(plan.target, plan.shards[2], limits=config.extract)  # then: kill -9
    resumed, _ = run_ingest(config)
    assert [s.name for s in resumed.shards] == [plan.shards[n].name for n in (0, 1, 3, 4)]
    assert [video.video_id for video in read_corpus(Session(config)).videos] == ids


PEAK = """
import sys
from pathlib import Path
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import plan_ingest
from tests.tasks.corpus.test_changes import config_of
plan = plan_ingest(Session(config_of(Path(sys.argv[1]), sys.argv[2])))
assert plan.captions == int(sys.argv[3])
for shard in plan.shards:
    assert all(shard.items)
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.slow
def test_a_plans_memory_does_not_grow_with_the_captions(tmp_path):
    (tmp_path / "0.mp4").write_bytes(b"")
    peaks = {}
    for n in (100_000, 400_000):
        file = tmp_path / f"{n}.parquet"
        table = {"video_id": [str(i % 1000) for i in range(n)], "caption": ["some text"] * n}
        pq.write_table(pa.table(table), file)
        run = [sys.executable, "-c", PEAK, str(tmp_path), str(file), str(n)]
        root = Path(__file__).parents[3]
        peaks[n] = int(subprocess.run(run, check=True, capture_output=True, cwd=root).stdout)
    # 13 to 23 MiB are what is read ahead; a record each would be a hundred
    assert (peaks[400_000] - peaks[100_000]) / 1024 < 50, f"{peaks} KiB"
