"""Plans by columns against their naive twins, which look at one whole record after another."""

import os
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.own.folder import FolderReader
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.file_marks import FileMark
from reelvec.storage.forgotten import FORGOTTEN, note_ids
from reelvec.storage.records import (
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    clip_key,
    records_to_table,
)
from reelvec.storage.stored_rows import StoredRows
from reelvec.storage.tables import write_table
from reelvec.tasks.corpus import video_columns as of_videos
from reelvec.tasks.corpus.changes import video_changes
from reelvec.tasks.corpus.clips import ClipOutcomes, clip_outcomes
from reelvec.tasks.corpus.forgotten import without_forgotten
from reelvec.tasks.corpus.ingest import Corpus
from reelvec.tasks.corpus.ledger import counts, failures, ledger, sound_failures, summary
from reelvec.tasks.corpus.listed_columns import ListedColumns
from reelvec.tasks.corpus.video_columns import video_columns
from reelvec.tasks.frames.planning import _pending
from tests.support.counting_root import counted_calls
from tests.support.hasty_root import HastyRoot

NAMES = [f"v{n}" for n in range(6)]
FILES = {"here": b"some bytes", "empty": b""}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file with bytes, one without, and the name of none."""
    folder = tmp_path_factory.mktemp("files")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in (*FILES, "missing")]


def publish(artifact, table, rows, *, columns=VIDEO_SCHEMA.names, gone=()):
    """One part more; of videos the table itself, of clips their ledger alone."""
    with artifact.new_part(table=table, shard="0", suffix=".parquet") as part:
        if table == "videos":
            data = records_to_table(rows, schema=VIDEO_SCHEMA).select(columns)
            write_table(part.path, data, metadata={})
            rows = [Outcome(video.video_id) for video in rows]
        else:
            part.path.write_bytes(b"not read")
        receipt = part.commit(rows=len(rows), outcomes=rows)
    return artifact.publish(add=[receipt], supersede={table: list(gone)})


def stored(root, videos):
    """The rows in two parts, a row more that is not in force; the first as an early version's."""
    corpus = Artifact.open(root, kind="corpus", identity={"corpus": 1})
    early = [name for name in VIDEO_SCHEMA.names if name not in ("inode", "ctime_ns", "packets")]
    half = len(videos) // 2
    first = [replace(video, inode=0, ctime_ns=0) for video in videos[:half]]
    publish(corpus, "videos", [Video("gone", "p"), *first], columns=early)
    snapshot = publish(corpus, "videos", videos[half:], gone=["gone"]) if videos[half:] else None
    return snapshot or corpus.publish(supersede={"videos": ["gone"]})


def mark_of(path, draw):
    """As the file is, or as it was not, or as a row of an early version knew it."""
    mark = FileMark.at(path)
    return {
        "same": mark,
        "early": FileMark(mark.bytes, mark.mtime_ns),
        "moved": replace(mark, inode=mark.inode + 1),
        "touched": replace(mark, ctime_ns=mark.ctime_ns + 1),
        "grown": replace(mark, bytes=mark.bytes + 1),
    }[draw]


ROWS = st.tuples(
    st.integers(0, 2), st.sampled_from(["same", "early", "moved", "touched", "grown"]),
    st.sampled_from(["", "train"]), st.sampled_from([None, None, 1.0]),
    st.sampled_from(["ok", "quarantined"]),
)  # fmt: skip


def looked_at(video):
    return replace(video, **asdict(FileMark.at(video.path)))


def list_of(videos):
    """As a list of columns."""
    table = records_to_table(videos, schema=VIDEO_SCHEMA)
    return VideoList(table.cast(pa.schema([
        field.with_type(pa.large_string()) if field.type == pa.string() else field
        for field in table.schema
    ])))  # fmt: skip


def rows_of(drawn, files):
    for name, (file, kind, split, start, status) in drawn.items():
        mark = mark_of(files[file], kind)
        yield Video(
            name, files[file], split, f"hash of {name}", mark.bytes, mark.mtime_ns,
            inode=mark.inode, ctime_ns=mark.ctime_ns, start_seconds=start, status=status,
        )  # fmt: skip


def naive_changes(listed, in_force, retry):
    places = {video.video_id: place for place, video in enumerate(listed)}
    moved, removed, again, gone = {}, [], [], []
    for row in in_force:
        place = places.get(row.video_id)
        if place is None:
            removed.append(row.video_id)
            continue
        now, mark = listed[place], FileMark.at(listed[place].path)
        facts = {name: getattr(mark, name) for name in ("bytes", "mtime_ns", "inode", "ctime_ns")}
        if row.path != now.path or not row.mark.agrees(mark):
            moved[place] = replace(now, **facts)
            gone += [row.video_id] if row.bytes > 0 and not mark.bytes else []
        elif retry is not None and retry(row):
            moved[place] = replace(now, **facts)
            again.append(row.video_id)
        else:
            means = {"split": now.split, "start_seconds": now.start_seconds}
            if replace(row, **means) != row:
                moved[place] = replace(row, **means)
    known = {row.video_id for row in in_force}
    due = []
    for place, now in enumerate(listed):
        mark = FileMark.at(now.path)
        if now.video_id not in known:
            found = {name: getattr(mark, name) for name in ("bytes", "mtime_ns", "inode")}
            due.append(replace(now, **found, ctime_ns=mark.ctime_ns))
        elif place in moved:
            due.append(moved[place])
    return due, [listed[place].video_id for place in sorted(moved)], removed, again, gone


@settings(max_examples=30, deadline=None)
@given(
    before=st.dictionaries(st.sampled_from(NAMES), ROWS),
    now=st.dictionaries(st.sampled_from(NAMES), ROWS),
    retries=st.booleans(), plain=st.booleans(), columnar=st.booleans(),
)  # fmt: skip
def test_files_are_compared_as_one_record_after_another_would(
    tmp_path_factory, files, before, now, retries, plain, columnar
):
    listed = [
        Video(name, files[row[0]], row[2], start_seconds=None if plain else row[3])
        for name, row in now.items()
    ]
    snapshot = stored(HastyRoot(tmp_path_factory.mktemp("store")), list(rows_of(before, files)))
    retry = (lambda row: row.status == "quarantined") if retries else None
    columns = ListedColumns.of(list_of(map(looked_at, listed)) if columnar else listed)
    found = video_changes(columns, snapshot=snapshot, retry=retry)
    in_force = list(StoredRows(snapshot, "videos", record=Video))
    assert (
        found.due, found.changed, found.removed, found.again, found.gone
    ) == naive_changes(listed, in_force, retry)  # fmt: skip


def test_a_list_of_columns_is_the_list_of_its_records():
    videos = [Video(f"v{n}", f"/{n}", "train" if n % 2 else "", bytes=n) for n in range(5)]
    made = list_of(videos)
    assert (list(made), list(made[1:3]), made[-1]) == (videos, videos[1:3], videos[-1])
    assert made == list_of(videos) and made != list_of(videos[1:])
    with pytest.raises(ValueError, match="fields of `Video`"):
        VideoList(made.table.drop_columns(["inode"]))
    with pytest.raises(IndexError):
        made[5]


@settings(max_examples=20, deadline=None)
@given(
    names=st.sets(
        st.sampled_from(["a.mp4", "a.mkv", "b.MP4", "d/a.mp4", "d/c.mov", "d/.x.mp4", "e/n.txt",
                         "d.mp4", "e/Ä.mp4", "e/mp4", "e/.mp4"]),
        min_size=1,
    ),
    options=st.sampled_from(
        [{}, {"split_by_folder": True}, {"splits": {"train": 0.5, "test": 0.5}}]
    ),
)  # fmt: skip
def test_a_plain_folder_is_listed_as_one_with_a_caption_file(tmp_path_factory, names, options):
    folder = tmp_path_factory.mktemp("videos")
    for name in [*names, "z/last.mp4"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    fast = FolderReader(str(folder), **options).read()
    reader = FolderReader(str(folder), **options)
    reader._folder.columns = lambda notes: None
    slow = reader.read()
    assert isinstance(fast.videos, VideoList) and not isinstance(slow.videos, VideoList)
    assert (list(fast.videos), fast.notes, fast.problems) == (
        list(map(looked_at, slow.videos)), slow.notes, slow.problems,
    )  # fmt: skip
    paths = {os.path.relpath(video.path, folder) for video in fast.videos}
    hidden = {name for name in names if "/." in name or name.endswith(("txt", "/mp4"))}
    assert paths == {*names, "z/last.mp4"} - hidden


MARKS = st.builds(
    FileMark, st.sampled_from([0, 0, 7]), st.integers(0, 9), st.integers(0, 2**63 - 1)
)
KEYS = ["a.mp4", "a.mkv", "a.mp4.avi", "d/a.mp4", "d-e/ä.mov", "d/b.MP4", "\U0001f600.mp4"]


@settings(max_examples=60, deadline=None)
@given(
    marks=st.dictionaries(st.sampled_from(KEYS), MARKS, min_size=1),
    options=st.sampled_from([{}, {"split_by_folder": True}]),
)
def test_a_bucket_is_listed_as_one_with_a_caption_file(marks, options):
    fast, slow = (FolderReader("s3://bucket/of", **options) for _ in range(2))
    for reader in (fast, slow):
        vars(reader._folder)["_marks"] = marks
    slow._folder.columns = lambda notes: None
    fast, slow = fast.read(), slow.read()
    assert isinstance(fast.videos, VideoList) and isinstance(slow.videos, tuple)
    assert fast == replace(slow, videos=fast.videos) and list(fast.videos) == list(slow.videos)
    of_columns, of_records = map(ListedColumns.of, (fast.videos, slow.videos))
    assert (of_columns.marks == of_records.marks).all()


CLIPS = st.lists(
    st.tuples(
        st.sampled_from(["aa", "bb", "cc", ""]), st.sampled_from([None, None, 1.0]), st.booleans()
    ),
    max_size=9,
)
OUTCOMES = st.dictionaries(
    st.sampled_from(["aa", "bb", "cc", "aa@1-", "bb@1-"]),
    st.sampled_from([("ok", ""), ("salvaged", "truncated"), ("quarantined", "timeout")]),
)


def videos_of(drawn):
    for number, (content, start, broken) in enumerate(drawn):
        status = ("quarantined", "empty") if broken else ("ok", "")
        yield Video(
            f"v{number}", "p", "", content, start_seconds=start, status=status[0], reason=status[1]
        )


@settings(max_examples=30, deadline=None)
@given(drawn=CLIPS, outcomes=OUTCOMES, with_files=st.booleans(), rows=st.integers(1, 4))
def test_clips_are_planned_and_counted_as_one_record_after_another_would(
    tmp_path_factory, drawn, outcomes, with_files, rows
):
    root, videos = HastyRoot(tmp_path_factory.mktemp("store")), list(videos_of(drawn))
    live = {key: Outcome(key, *outcome) for key, outcome in outcomes.items()}
    frames = Artifact.open(root, kind="frames", identity={"frames": 1})
    decoded = publish(frames, "frames", [Outcome("gone"), *live.values()], gone=[])
    decoded = frames.publish(supersede={"frames": ["gone"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_videos, "_ROWS", rows)
        snapshot = stored(root, videos)
        known, redo = clip_outcomes(decoded), {"bb"}
        due = list(_pending(snapshot, known=known, redo=redo, with_files=with_files))
        short = summary(snapshot, frames=decoded)
        sound = sound_failures(snapshot, audio=decoded)
    expected = []
    for video in videos:
        key = video.content_hash and clip_key(video.content_hash, start_seconds=video.start_seconds)
        if video.status == "quarantined":
            continue
        if key and (key not in live or (key in redo and live[key].status != "ok")):
            expected.append((replace(video), key))
        file = video.content_hash
        if (
            with_files
            and file
            and (file not in live or (file in redo and live[file].status != "ok"))
        ):
            expected.append((replace(video, start_seconds=None), file))
    in_force = list(StoredRows(snapshot, "videos", record=Video))
    assert due == expected and in_force == videos
    every = list(ledger(Corpus(None, videos, ()), frames=decoded))
    assert (short.counts, list(short.failures)) == (counts(every), failures(every))
    heard = [row for row in every if row.stage == "extract" and row.status not in ("ok", "pending")]
    assert sound == [replace(row, stage="audio") for row in heard]


@settings(max_examples=20, deadline=None)
@given(drawn=CLIPS, chosen=st.sets(st.integers(0, 8)))
def test_records_are_those_of_their_numbers(tmp_path_factory, drawn, chosen):
    videos = list(videos_of(drawn))
    snapshot = stored(HastyRoot(tmp_path_factory.mktemp("store")), videos)
    rows = sorted(number for number in chosen if number < len(videos))
    found = video_columns(snapshot)
    assert len(found) == len(videos)
    assert list(found.records(np.array(rows, np.int64))) == [videos[number] for number in rows]


@pytest.mark.parametrize("rows", [[], [0, 1, 2, 3, 4], [1, 2], [0, 2], [4], [3, 1], [1, 1]])
def test_rows_that_are_taken_are_those_of_their_numbers(rows):
    table = pa.table({"name": ["a", "b", "c", "d", "e"]})
    found = of_videos.taken(table, np.array(rows, np.int64))
    assert found.column("name").to_pylist() == ["abcde"[row] for row in rows]


def test_no_corpus_has_no_columns():
    assert list(video_columns(None).batches()) == [] and len(video_columns(None)) == 0


def test_after_a_publication_the_parts_that_are_new_are_read_and_no_others(monkeypatch, tmp_path):
    root = HastyRoot(tmp_path)
    corpus = Artifact.open(root, kind="corpus", identity={"corpus": 1})
    frames = Artifact.open(root, kind="frames", identity={"frames": 1})

    def look():
        snapshots = corpus.latest(), frames.latest()
        with counted_calls(monkeypatch) as calls:
            ids = [
                i for p in video_columns(snapshots[0]).batches() for i in p["video_id"].to_pylist()
            ]
            ok = ClipOutcomes(snapshots[1]).places([f"{n}" for n in range(5)])
        read = [path for verb, path in calls if verb in ("read", "local_path")]
        return ids, ok.tolist(), read

    for number in range(4):
        publish(corpus, "videos", [Video(f"{number}", "p"), Video(f"{number}b", "p")])
        publish(frames, "frames", [Outcome(f"{number}"), Outcome(f"{number}b", "quarantined", "x")])
        if number == 2:
            look()
    ids, ok, read = look()
    assert ids == [f"{n}{b}" for n in range(4) for b in ("", "b")] and ok == [0, 1, 2, 3, -1]
    assert len(read) == 2, "a part of videos and a receipt of frames"
    corpus.publish(supersede={"videos": ["0b"]})
    ids, _, read = look()
    assert "0b" not in ids and len(ids) == 7 and len(read) == 1


@pytest.mark.parametrize("gone", [[], ["v1"], ["v0", "v3", "nobody"], ["v0", "v1", "v2", "v3"]])
def test_who_was_forgotten_is_left_out_of_columns_as_of_records(tmp_path, gone):
    root = HastyRoot(tmp_path)
    note_ids(root, gone, change=FORGOTTEN)
    videos = [Video(f"v{n}", f"/{n}") for n in range(4)]
    captions = CaptionList(chunk=2)
    for number in range(9):
        captions.append(Caption(f"v{number % 4}#{number}", f"v{number % 4}", "x"))
    listings = [CorpusListing(some, captions) for some in (list_of(videos), videos)]
    fast, slow = (without_forgotten(listing, root=root) for listing in listings)
    assert isinstance(fast.videos, VideoList)
    expected = [video for video in videos if video.video_id not in gone]
    assert list(fast.videos) == list(slow.videos) == expected
    left = [caption for caption in captions if caption.video_id not in gone]
    assert list(fast.captions) == list(slow.captions) == left and fast.notes == slow.notes


def bytes_held(tables):
    """Of the buffers of tables, each counted once."""
    chunks = (one for table in tables for column in table.columns for one in column.chunks)
    buffers = (buffer for one in chunks for buffer in one.buffers() if buffer is not None)
    return sum({buffer.address: buffer.size for buffer in buffers}.values())


@pytest.mark.parametrize("compared", [False, True], ids=["planned", "compared with files"])
def test_what_videos_have_alike_is_kept_once(tmp_path, compared):
    videos = [
        Video(f"v{n:06}", "p", content_hash=f"{n:032x}", split="train", status="ok")
        for n in range(4000)
    ]
    videos[700] = replace(videos[700], split="test", start_seconds=1.5, reason="a reason")
    corpus = Artifact.open(HastyRoot(tmp_path), kind="corpus", identity={"corpus": 1})
    for start in range(0, len(videos), 500):
        snapshot = publish(corpus, "videos", videos[start : start + 500])
    if compared:
        list(of_videos.columns_with_marks(snapshot))
    batches = list(video_columns(snapshot).batches())
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert rows == [{name: getattr(video, name) for name in rows[0]} for video in videos]
    own = len("v000000") + len("0" * 32) + 2 * 4  # an id, a hash, and where each ends
    assert bytes_held(batches) / len(videos) < 1.4 * own
