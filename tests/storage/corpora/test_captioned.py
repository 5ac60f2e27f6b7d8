"""Folders with caption files as columns, against their twin of one record after another."""

import csv
import json
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.configs.uris import is_uri
from reelvec.storage.corpora import caption_list
from reelvec.storage.corpora.own import caption_columns, distinct_videos
from reelvec.storage.corpora.own.folder import FolderReader
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.errors import CorpusError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.reasons import Reason

FILES = ["a.mp4", "a.mkv", "b.MP4", "d/a.mp4", "d/c.mov", "é.mp4", "\U0001f600.mp4", "sp ace.mp4"]
NAMES = ["a", "b", "d/a", "d/c", "é", "\U0001f600", "sp ace", "c", "gone", "x"]
PATHS = [*FILES, "c.mov", "a.mp4", "../b.MP4", "gone.mp4", "d/../b.MP4", "notes.txt", "d/a"]
TEXTS = ["a text", "two\nlines", 'with "quotes", and\r\nmore', "é\u2028\U0001f600", "", "  ", "x"]
VALUES = {
    "video_id": st.sampled_from(["a", "a", "b", "b", "x", "", *NAMES, *FILES[:4]]),
    "path": st.sampled_from(["b.MP4", "", *PATHS, "a\0b"]),
    "caption": st.sampled_from(TEXTS),
    "split": st.sampled_from(["", "train", "train", "Validation"]),
    "subset": st.sampled_from(["", "short"]),
    "start": st.sampled_from(["", "0", "1.5", "-1", "soon"]),
    "end": st.sampled_from(["", "2", "1"]),
}
COLUMNS = [
    ["video_id", "caption"], ["video_id", "caption", "subset"], ["video_id", "caption", "split"],
    ["path", "caption"], ["video_id", "path", "caption"], ["video_id", "start", "end"], [*VALUES],
]  # fmt: skip


@st.composite
def tables(draw):
    """Rows of one file."""
    columns = draw(st.sampled_from(COLUMNS))
    row = st.fixed_dictionaries({name: VALUES[name] for name in columns})
    return draw(st.lists(row, min_size=1, max_size=7))


def written(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        whole = "\n".join(lines) if file.suffix == ".jsonl" else f"[{','.join(lines)}]"
        file.write_text(whole, encoding="utf-8")
    return str(file)


def with_files(folder, names):
    for name in [*names, "z/last.mp4", "notes.txt"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345"[: len(name)])
    return folder


def looked_at(video):
    if is_uri(video.path):
        return video
    return replace(video, **asdict(FileMark.at(video.path)))


def of_records(reader):
    """What one record after another gives; None: an error."""
    try:
        return reader._as_records()
    except CorpusError:
        return None


def agree(fast, slow):
    assert isinstance(fast.videos, VideoList)
    assert list(fast.videos) == list(map(looked_at, slow.videos))
    assert list(fast.captions) == list(slow.captions)
    assert (fast.notes, fast.problems) == (slow.notes, slow.problems)


@settings(max_examples=150, deadline=None)
@given(
    names=st.sets(st.sampled_from(FILES)),
    files=st.lists(tables(), min_size=1, max_size=2),
    ending=st.sampled_from(["csv", "csv", "jsonl", "json"]),
    by_split=st.booleans(),
    options=st.sampled_from([{}, {}, {"splits": {"train": 0.5, "test": 0.5}}]),
    rows=st.integers(1, 4),
)  # fmt: skip
def test_columns_are_what_one_record_after_another_gives(
    tmp_path_factory, names, files, ending, by_split, options, rows
):
    folder = with_files(tmp_path_factory.mktemp("videos"), names)
    places = [folder / f"d/{n}.{ending}" if n else folder / f"c.{ending}" for n in range(2)]
    captions = [written(place, table) for place, table in zip(places, files, strict=False)]
    named = dict(zip(["train", "dev"], captions, strict=False)) if by_split else captions[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_columns, "_ROWS", rows)
        patch.setattr(distinct_videos, "_AT_LEAST", rows)
        patch.setattr(caption_list.CaptionList.__init__, "__kwdefaults__", {"chunk": rows + 1})
        reader = FolderReader(str(folder), captions=named, **options)
        fast, slow = reader._as_columns(), of_records(reader)
    assert slow is not None or fast is None, "an error is said by who reads row by row"
    if fast is not None:
        agree(fast, slow)


def numbered(*rows, columns=("video_id", "caption")):
    return [dict(zip(columns, row, strict=True)) for row in rows]


PLAIN = {
    "two captions a video, far apart": numbered(("a", "1"), ("b", "2"), ("a", "3")),
    "videos that are missing": numbered(("gone", "1"), ("b", "2"), ("gone", "3")),
    "captions that are none": numbered(("a", " "), ("b", "two"), ("b", "")),
    "rows that name nothing": numbered(("", "1"), ("b", "2")),
    "own names": numbered(("x", "b.MP4", "1"), ("y", "d/c.mov", "2"), ("x", "b.MP4", "3"),
                          columns=("video_id", "path", "caption")),
    "an id that was another file's": numbered(("b", "d/c.mov", "1"),
                                              columns=("video_id", "path", "caption")),
    "windows": numbered(("x", "b.MP4", "0", "2"), ("y", "b.MP4", "2", ""), ("z", "b.MP4", "2", "1"),
                        columns=("video_id", "path", "start", "end")),
    "splits, blank too": numbered(("a", "train"), ("b", ""), ("a", ""), ("d/c", "dev"),
                                  columns=("video_id", "split")),
    "paths, beside a file too": numbered(("c.mov", "1"), ("b.MP4", "2"), ("lost.mp4", "3"),
                                         ("notes.txt", "4"), columns=("path", "caption")),
}  # fmt: skip
ODD = {
    "another spelling": numbered(("B", "1"),),
    "one id for two files": numbered(
        ("x", "b.MP4"), ("x", "d/c.mov"), columns=("video_id", "path")
    ),
    "two splits": numbered(("a", "train"), ("a", "test"), columns=("video_id", "split")),
    "nothing that can be used": numbered(("", "1")),
}  # fmt: skip


def reader_of(tmp_path, rows, ending):
    folder = with_files(tmp_path / "videos", ["a.mp4", "b.MP4", "d/c.mov"])
    return FolderReader(str(folder), captions=written(folder / "d" / f"c.{ending}", rows))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_plain_is_columns_and_stays_so(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(caption_columns, "_ROWS", 1)  # also from one piece to the next
    monkeypatch.setattr(distinct_videos, "_AT_LEAST", 1)
    for number, (what, rows) in enumerate(PLAIN.items()):
        if ending == "parquet" and number % 4:
            continue  # a process each
        reader = reader_of(tmp_path / str(number), rows, ending)
        fast = reader._as_columns()
        assert fast is not None, what
        agree(fast, reader._as_records())
        assert reader.read() == fast, what


@pytest.mark.parametrize("what", ODD)
def test_what_is_odd_is_told_row_by_row(tmp_path, what):
    assert reader_of(tmp_path, ODD[what], "csv")._as_columns() is None


def test_objects_of_a_bucket_are_columns_too(tmp_path):
    rows = numbered(("a", "1"), ("gone", "2"), ("empty", "3"), ("d/b", "4"), ("shut", "5"))
    marks = {"a.mp4": FileMark(3, 4, 5), "empty.mp4": FileMark(0, 4, 5), "d/b.mkv": FileMark(9, 1)}
    marks["shut.mp4"] = FileMark()
    reader = FolderReader("s3://bucket/of", captions=written(tmp_path / "c.csv", rows))
    vars(reader._folder)["_marks"] = marks
    reader._folder._faults["shut.mp4"] = (Reason.PERMISSION, "its server says 403")
    fast = reader._as_columns()
    agree(fast, reader._as_records())
    reasons = {video.video_id: video.reason for video in fast.videos}
    found = {"a": "", "d/b": "", "empty": "empty", "gone": "missing", "shut": "permission"}
    assert reasons == found
    assert "its server says 403" in fast.notes[0]
    vars(reader._folder)["_marks"] = marks | {"d//b.mkv": FileMark(9, 1)}
    assert reader._as_columns() is None, "a key that a path would be another one for"


def test_values_of_other_types_are_left_out_in_the_same_words(tmp_path):
    rows = [
        {"video_id": ["a"], "caption": "x"},
        {"video_id": 7, "caption": ["one", "", 5, "two"], "subset": 3},
        {"video_id": None, "path": "b.MP4", "caption": None, "start": True},
        {"video_id": True, "path": [], "caption": "x"},
        {"video_id": "d/c", "caption": {"text": "x"}, "start": "0", "end": 2.5, "split": 4},
        {"video_id": "a", "caption": "last", "subset": {}},
    ]
    reader = reader_of(tmp_path, rows, "jsonl")
    fast = reader._as_columns()
    agree(fast, reader._as_records())
    assert [caption.text for caption in fast.captions] == ["one", "two"]
    assert "left out: 7" in fast.problems[0]
