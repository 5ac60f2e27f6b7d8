"""The planner by digests against its naive twin, which holds every row in a dict."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.digests import DigestSet, digests
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    clip_key,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import write_table
from reelvec.tasks.embedding import embed
from reelvec.tasks.embedding.differences import (
    caption_differences,
    embedded_clips,
    video_differences,
)
from reelvec.tasks.embedding.rows import CaptionRow, VideoRow


def commit(artifact, table, outcomes, data=None, supersede=()):
    with artifact.new_part(table=table, shard="0", suffix=".parquet") as part:
        if data is None:
            part.path.write_bytes(b"not read")
        else:
            write_table(part.path, data, metadata={})
        receipt = part.commit(rows=len(outcomes), outcomes=outcomes)
    return artifact.publish(add=[receipt], supersede={table: list(supersede)})


def corpus_of(root, videos, captions):
    artifact = Artifact.open(root, kind="corpus", identity={"corpus": 1})
    table = records_to_table(videos, schema=VIDEO_SCHEMA)
    commit(artifact, "videos", [Outcome(v.video_id, v.status, v.reason) for v in videos], table)
    table = records_to_table(captions, schema=CAPTION_SCHEMA)
    return commit(artifact, "captions", [Outcome(c.caption_id) for c in captions], table)


def naive_videos(videos, frames, live):
    due, planned = [], {}
    for video in videos:
        key = clip_key(video.content_hash, start_seconds=video.start_seconds)
        if video.status == "quarantined":
            outcome = (video.status, video.reason, video.message)
        elif key in frames:
            outcome = (frames[key].status, frames[key].reason, frames[key].message)
        else:
            continue
        row = VideoRow(video.video_id, video.content_hash, key, video.split, *outcome)
        planned[row.video_id] = row.signature
        if row.video_id not in live or live[row.video_id].detail != row.signature:
            due.append(row)
    return due, {k: row for k, row in live.items() if planned.get(k) != row.detail}


ids = st.sampled_from([f"v{i}" for i in range(6)])
hashes = st.sampled_from(["aa", "bb", "cc", "dd"])
outcomes = st.sampled_from(
    [("ok", "", ""), ("salvaged", "truncated", "m"), ("quarantined", "x", "m")]
)
videos_of = st.lists(
    st.builds(
        lambda video_id, content, split, start, bad: Video(
            video_id, "p", split, content, start_seconds=start,
            status="quarantined" if bad else "ok", reason="empty" if bad else "",
        ),
        ids, hashes, st.sampled_from(["", "train"]), st.sampled_from([None, 1.0]), st.booleans(),
    ),
    unique_by=lambda video: video.video_id,
)  # fmt: skip
frames_of = st.dictionaries(hashes | hashes.map("{}@1-".format), outcomes)


@settings(max_examples=60, deadline=None)
@given(before=videos_of, now=videos_of, frames_before=frames_of, frames=frames_of)
def test_the_plan_is_the_naive_one(tmp_path_factory, before, now, frames_before, frames):
    root = open_root(tmp_path_factory.mktemp("store"))
    frames = {key: Outcome(key, *outcome) for key, outcome in frames.items()}
    earlier = {key: Outcome(key, *outcome) for key, outcome in frames_before.items()}
    made, _ = naive_videos(before, earlier, {})
    live = {row.video_id: Outcome(row.video_id, row.status, detail=row.signature) for row in made}
    tables = Artifact.open(root, kind="embeddings", identity={"tables": 1})
    gone = [Outcome("gone", detail="old"), *live.values()]
    commit(tables, "videos", gone)
    base = tables.publish(supersede={"videos": ["gone"]})
    store = Artifact.open(root, kind="frames", identity={"frames": 1})
    rows = list(frames.values())
    commit(store, "frames", rows[:2])
    decoded = commit(store, "frames", rows[2:])
    corpus = corpus_of(root, now, [])
    found = video_differences(corpus, frames=decoded, base=base)
    assert (found.due, found.in_force) == naive_videos(now, frames, live)
    clips = {row.clip_key for row in found.due}
    copies = embedded_clips(base, wanted=dict.fromkeys(clips, ""))
    wanted = {row.clip_key for row in made if row.status != "quarantined"} & clips
    assert set(copies) == wanted
    whole = {part.entry: part.receipt.keys for part in [*base.parts(), *decoded.parts()]}
    for clip, (video_id, part) in copies.items():
        assert live[video_id].detail.startswith(f"{clip} ")
        assert video_id in whole[part]
    for row in found.due:  # its shard finds the frames without a look at any other part
        assert row.status == "quarantined" or row.clip_key in whole[row.part]


def test_captions_follow_text_video_and_split(tmp_path):
    root = open_root(tmp_path)
    videos = [Video("a", "p", "train", "aa"), Video("b", "p", "test", "bb")]
    captions = [Caption("1", "a", "x"), Caption("2", "b", "y"), Caption("3", "nobody", "z")]
    rows = [
        CaptionRow(c.caption_id, c.video_id, split, c.subset, c.text)
        for c, split in zip(captions, ["train", "test", ""], strict=True)
    ]
    corpus = corpus_of(root, videos, captions)
    assert caption_differences(corpus, base=None).due == rows
    tables = Artifact.open(root, kind="embeddings", identity={"tables": 1})
    live = [Outcome(row.caption_id, detail=row.signature) for row in rows]
    live[1] = Outcome("2", detail="of another text")
    base = commit(tables, "captions", [*live, Outcome("4", detail="orphaned")])
    found = caption_differences(corpus, base=base)
    assert found.due == [rows[1]]
    assert set(found.in_force) == {"2", "4"}


def test_an_empty_store_has_no_differences():
    assert video_differences(None, frames=None, base=None).due == []
    assert caption_differences(None, base=None).in_force == {}


@settings(deadline=None)
@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.integers(0, 5))
def test_digest_sets_are_sets(here, wanted, cut):
    found = DigestSet([digests(here[:cut]), digests(here[cut:])])
    assert found.has(digests(wanted)).tolist() == [text in here for text in wanted]
    for text, at in zip(wanted, found.find(digests(wanted)), strict=True):
        assert at == -1 if text not in here else here[at] == text


@settings(deadline=None)
@given(st.lists(st.text(max_size=2), unique=True), st.data())
def test_one_set_asked_again_and_again_in_whatever_order(here, data):
    """Pieces of what it holds, each text once or more, and now and then something else."""
    found = DigestSet([digests(here)])
    for _ in range(3):
        start = data.draw(st.integers(0, len(here)))
        piece = here[start : start + data.draw(st.integers(0, 5))]
        times = data.draw(st.integers(1, 3))
        wanted = [text for text in piece for _ in range(times)]
        wanted += data.draw(st.lists(st.text(max_size=2), max_size=2))
        naive = [here.index(text) if text in here else -1 for text in wanted]
        assert found.find(digests(wanted)).tolist() == naive


def test_what_is_asked_for_in_its_order_is_not_searched_for():
    """The videos of three captions each, in batches that cut a video's captions in two."""
    here = digests(map(str, range(100)))
    found = DigestSet([here[:30], here[30:]])
    wanted = np.repeat(np.arange(100), 3)
    for start in range(0, len(wanted), 16):
        some = wanted[start : start + 16]
        assert found.find(here[some]).tolist() == some.tolist()
    assert "_by_first_half" not in vars(found)
    assert found.find(digests(["no such text"])).tolist() == [-1]


def test_digests_that_share_their_first_half_are_told_apart():
    here = np.array([[7, 1], [7, 2], [7, 3], [9, 1]], np.uint64)
    wanted = np.array([[7, 3], [7, 9], [9, 1], [9, 2], [6, 1]], np.uint64)
    assert DigestSet([here]).find(wanted).tolist() == [2, -1, 3, -1, -1]


def test_ledgers_stream_what_is_in_force(tmp_path):
    artifact = Artifact.open(open_root(tmp_path), kind="frames", identity={"a": 1})
    rows = [Outcome("a"), Outcome("b", "quarantined", "empty", "m", "d", 3), Outcome("c")]
    snapshot = commit(artifact, "frames", rows)
    snapshot = artifact.publish(supersede={"frames": ["c"]})
    columns = list(iter_ledger(snapshot, "frames"))
    found = [
        Outcome(**dict(zip(ledger, row, strict=True)))
        for ledger in columns
        for row in zip(*ledger.values(), strict=True)
    ]
    assert found == list(snapshot.outcomes("frames"))


def test_few_rows_are_one_shard_of_each_table_and_no_model_is_asked(monkeypatch):
    def asked(model):
        raise LookupError(model)

    monkeypatch.setattr(embed, "rows_see_each_other", asked)
    session = SimpleNamespace(config=PipelineConfig())
    videos = [VideoRow(f"v{n}", "aa", "aa", "", "ok") for n in range(16)]
    captions = [CaptionRow(f"c{n}", "v0", "", "", "x") for n in range(128)]
    size = embed._size(session, rows=len(videos), captions=len(captions))
    made = embed._shards(videos, captions, size=size)
    assert made == embed._shards(videos, captions, size=embed.LEAST_A_SHARD) and len(made) == 2
    for rows, more in ((17, 0), (1, 129)):
        with pytest.raises(LookupError):
            embed._size(session, rows=rows, captions=more)
