"""Folders of videos: ids, caption files, splits, and what is refused."""

import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reelvec.configs.schema import FolderCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.folders import VIDEO_EXTENSIONS
from reelvec.storage.corpora.own.file_columns import ids_of
from reelvec.storage.corpora.own.splits import split_by_hash, split_name
from reelvec.storage.errors import CorpusError
from tests.storage.corpora.contracts_corpora import CorpusReaderContract


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    for name in ("a.mp4", "b.mkv", "deep/er/c.AVI", "notes.txt", ".hidden.mp4", ".git/x.mp4"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no video, but called one")
    return folder


def read(videos, **options):
    return open_corpus(FolderCorpus(videos=str(videos), **options), store_dir="/nowhere").read()


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


class TestContract(CorpusReaderContract):
    @pytest.fixture
    def reader(self, videos, tmp_path):
        file = written(tmp_path / "c.csv", "video_id,caption\na,one\na,two\nb,three\n")
        return open_corpus(FolderCorpus(videos=str(videos), captions=file), store_dir=tmp_path)


def test_a_folder_alone(videos):
    listing = read(videos)
    assert [video.video_id for video in listing.videos] == ["a", "b", "deep/er/c"]
    assert [video.path for video in listing.videos] == [
        str(videos / name) for name in ("a.mp4", "b.mkv", "deep/er/c.AVI")
    ]
    assert {video.split for video in listing.videos} == {""}
    assert listing.captions == ()


def test_linked_folders_are_followed_once(videos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "d.mp4").write_bytes(b"")
    (videos / "link").symlink_to(other)
    (videos / "deep" / "up").symlink_to(videos)
    assert [v.video_id for v in read(videos).videos] == ["a", "b", "deep/er/c", "link/d"]


def test_relative_folders_give_absolute_paths(videos, monkeypatch):
    monkeypatch.chdir(videos.parent)
    assert read("videos").videos == read(videos).videos
    assert read("./videos/../videos/").videos == read(videos).videos


def test_twins_keep_their_extension():
    assert ids_of(["a.mp4", "a.mkv", "b.mp4"]) == {
        "a.mp4": "a.mp4",
        "a.mkv": "a.mkv",
        "b.mp4": "b",
    }
    # a.mp4 (from a.mp4.avi) would be the id of a.mp4
    assert ids_of(["a.mp4", "a.mkv", "a.mp4.avi"]) == {
        "a.mp4": "a.mp4",
        "a.mkv": "a.mkv",
        "a.mp4.avi": "a.mp4.avi",
    }


NAMES = st.builds(
    "".join,
    st.lists(
        st.sampled_from(["a", "A", "b", ".", "/", "é", "e\u0301", ".mp4", ".mkv", ".MP4"]),
        min_size=1,
        max_size=5,
    ),
)


@given(st.lists(NAMES, unique=True))
def test_ids_are_unique_whatever_the_names(names):
    ids = ids_of(names)
    assert list(ids) == names
    assert len(set(ids.values())) == len(names)


def test_names_that_differ_in_bytes_differ_in_id(tmp_path):
    names = ["café", unicodedata.normalize("NFD", "café"), "CAFÉ"]
    for name in names:
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    assert {video.video_id for video in read(tmp_path).videos} == set(names)


def test_a_name_that_is_no_text_is_quarantined(tmp_path):
    (tmp_path / "good.mp4").write_bytes(b"")
    with open(os.fsencode(tmp_path) + b"/bad\xff.mp4", "wb"):
        pass
    bad, good = read(tmp_path).videos
    assert (bad.video_id, bad.status, bad.reason) == ("bad\\xff", "quarantined", "unreadable")
    assert "not UTF-8" in bad.message
    assert good.status == "ok"


FORMATS = ["csv", "tsv", "jsonl", "parquet"]


def caption_file(path: Path, rows: list[dict], kind: str) -> str:
    path = path.with_suffix(f".{kind}")
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    else:
        mark = "," if kind == "csv" else "\t"
        lines = [mark.join(rows[0])] + [
            mark.join('"' + str(value).replace('"', '""') + '"' for value in row.values())
            for row in rows
        ]
        path.write_text("\n".join(lines), encoding="utf-8-sig")
    return str(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_captions_with_mapped_columns(videos, tmp_path, kind):
    rows = [
        {"clip": "x", "file": "a.mp4", "text": 'says "hi",\nthen\u2028leaves', "part": "train"},
        {"clip": "y", "file": "deep/er/c.AVI", "text": "second", "part": "validation"},
        {"clip": "x", "file": "a.mp4", "text": "once more", "part": "train"},
    ]
    listing = read(
        videos,
        captions=caption_file(tmp_path / "c", rows, kind),
        columns={"video_id": "clip", "path": "file", "caption": "text", "split": "part"},
    )
    assert [(v.video_id, Path(v.path).name, v.split) for v in listing.videos] == [
        ("b", "b.mkv", "unlisted"),  # a file with splits does not name it: in no role
        ("x", "a.mp4", "train"),
        ("y", "c.AVI", "val"),
    ]
    assert [(c.caption_id, c.video_id, c.text) for c in listing.captions] == [
        ("x#0", "x", 'says "hi",\nthen\u2028leaves'),
        ("y#0", "y", "second"),
        ("x#1", "x", "once more"),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_captions_and_numbers_as_ids(tmp_path, kind):
    (tmp_path / "7.mp4").write_bytes(b"")
    rows = [{"video_id": 7, "caption": ["one", "two"]}, {"video_id": 8, "caption": None}]
    listing = read(tmp_path, captions=caption_file(tmp_path / "c", rows, kind))
    assert [v.video_id for v in listing.videos] == ["7", "8"]
    assert [c.text for c in listing.captions] == ["one", "two"]


def test_ids_find_files_with_or_without_extension(videos, tmp_path):
    file = written(tmp_path / "c.csv", "video_id,caption\na,1\nb.mkv,2\ndeep/er/c,3\n")
    listing = read(videos, captions=file)
    assert {v.video_id: Path(v.path).name for v in listing.videos} == {
        "a": "a.mp4",
        "b.mkv": "b.mkv",
        "deep/er/c": "c.AVI",
    }


def test_paths_alone_give_ids(videos, tmp_path):
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"")
    file = written(tmp_path / "c.csv", f"path,caption\ndeep/er/c.AVI,1\n{outside},2\n")
    listing = read(videos, captions=file)
    assert [c.video_id for c in listing.captions] == ["deep/er/c", str(outside.with_suffix(""))]


def test_paths_beside_the_caption_file(tmp_path):
    """A Hugging Face folder: {split}/metadata.csv names files beside itself."""
    for split in ("train", "validation"):
        written(tmp_path / split / "1.mp4", "")
        written(tmp_path / split / "metadata.csv", f"file_name,text\n1.mp4,of {split}\n")
    listing = read(
        tmp_path,
        captions={s: str(tmp_path / s / "metadata.csv") for s in ("train", "validation")},
        columns={"path": "file_name", "caption": "text"},
    )
    assert [(v.video_id, v.split) for v in listing.videos] == [
        ("train/1", "train"),
        ("validation/1", "val"),
    ]
    assert [c.text for c in listing.captions] == ["of train", "of validation"]
    by_folder = read(tmp_path, split_by_folder=True)
    assert [(v.video_id, v.path, v.split) for v in by_folder.videos] == [
        (v.video_id, v.path, v.split) for v in listing.videos
    ]


def test_missing_paths_are_listed(videos, tmp_path):
    file = written(tmp_path / "c.csv", "video_id,path,caption\ngone,gone.mp4,where\n,lost.mkv,x\n")
    listing = read(videos, captions=file)
    paths = {v.video_id: v.path for v in listing.videos}
    assert paths["gone"] == str(videos / "gone.mp4")
    assert paths["lost"] == str(videos / "lost.mkv")
    assert len(paths) == 5


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", " ", "#0"])
def test_ids_are_only_text(videos, tmp_path, name):
    file = written(tmp_path / "c.jsonl", json.dumps({"video_id": name, "caption": "x"}))
    assert name in {video.video_id for video in read(videos, captions=file).videos}


def test_windows_of_one_file(videos, tmp_path):
    file = written(
        tmp_path / "c.csv",
        "video_id,path,caption,start,end,subset\nx,a.mp4,one,0,2.5,short\ny,a.mp4,two,2.5,,\n",
    )
    listing = read(videos, captions=file)
    windows = {v.video_id: (v.start_seconds, v.end_seconds) for v in listing.videos}
    assert windows["x"] == (0.0, 2.5)
    assert windows["y"] == (2.5, None)
    assert [c.subset for c in listing.captions] == ["short", ""]


def test_fractions_are_a_stable_hash_of_the_id(videos):
    fractions = {"train": 0.8, "val": 0.1, "test": 0.1}
    counts = Counter(split_by_hash(f"video{n}", fractions) for n in range(10000))
    assert abs(counts["train"] - 8000) < 150
    assert abs(counts["val"] - 1000) < 120
    reordered = dict(reversed(fractions.items()))
    for n in range(100):
        assert split_by_hash(f"v{n}", fractions) == split_by_hash(f"v{n}", reordered)
    of_all_time = [split_by_hash(f"video{n}", fractions) for n in range(20)]
    assert "".join(name[1] for name in of_all_time) == "rrrrrrrrrearearrrrrr"
    assert split_by_hash("video2", {"test": 1.0, "train": 0.0}) == "test"
    for video in read(videos, splits=fractions).videos:
        assert video.split == split_by_hash(video.video_id, fractions)


def test_fractions_must_be_shares_of_one():
    for splits in ({"train": 0.8, "test": 0.1}, {"train": 1.5, "test": -0.5}):
        with pytest.raises(ValidationError, match="sum to 1"):
            FolderCorpus(videos="x", splits=splits)


def test_names_of_splits():
    given = ("validation", "DEV", " train ", "Train", "TEST", "Validate", "Mine", "")
    assert [split_name(name) for name in given] == [
        "val", "val", "train", "train", "test", "val", "Mine", "",
    ]  # fmt: skip


def test_every_known_extension_is_found(tmp_path):
    for extension in VIDEO_EXTENSIONS:
        (tmp_path / f"x{extension[1:]}{extension}").write_bytes(b"")
    assert len(read(tmp_path).videos) == len(VIDEO_EXTENSIONS) > 20


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("c.csv", "clip,caption\na,x\n", 2, "or --set corpus.columns.path="),
        ("c.csv", "video_id,captoin\na,x\n", 2, "did you mean 'captoin'?"),
        ("c.csv", "video_id,caption\na,x,y\n", 2, "3 values for 2 columns"),
        ("c.csv", 'video_id,caption\na,"x\nb,y\n', 2, "a quote that opens here is never closed"),
        ("c.csv", 'video_id,caption\na,"x\ny"\nb,"p\nq","z\nc,w\n', 5, "quote that opens here"),
        ("c.csv", 'video_id,caption\na,"x\nb,"y"\n', 2, "ends too early"),
        ("c.csv", 'video_id,caption\na,"' + "x\n" * 100_000, 2, "is never closed"),
        ("c.csv", "video_id,video_id\na,x\n", 1, "a column is named twice"),
        ("c.csv", "video_id,caption\n", 0, "holds no rows"),
        ("c.csv", "", 0, "holds no rows"),
        ("c.csv", "video_id,path,caption\nx,a.mp4,1\n\nx,b.mkv,2\n", 4, "one id means one piece"),
        ("c.csv", "video_id,caption,split\na,1,train\na,2,test\n", 3, "splits share no video"),
        ("c.jsonl", '{"video_id": "a", "caption": "x"}\n[1]\n', 2, "a list; JSONL holds"),
        ("c.jsonl", '{"video_id": "a", "caption": "x"}\n{"video_id":\n', 2, "not JSON"),
        ("c.xlsx", "x", 0, "captions are read from .csv, .tsv"),
        ("c.parquet", "PAR1 not", 0, "not a readable Parquet file"),
    ],
)
def test_wrong_caption_files_are_named(videos, tmp_path, name, text, line, message):
    file = written(tmp_path / name, text)
    columns = {"caption": "caption"} if "captoin" in text else {}
    with pytest.raises(CorpusError) as caught:
        read(videos, captions=file, columns=columns)
    assert message in str(caught.value)
    assert (caught.value.path, caught.value.line) == (file, line)
    assert str(caught.value).startswith(f"{file}, line {line}:" if line else f"{file}:")


def test_other_encodings_and_missing_files_are_named(videos, tmp_path):
    file = tmp_path / "c.csv"
    with pytest.raises(CorpusError, match="no such file"):
        read(videos, captions=str(file))
    file.write_bytes("video_id,caption\na,ok\nb,café\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="line 3: byte 0xe9 is not UTF-8"):
        read(videos, captions=str(file))
    file.write_bytes("video_id,caption\na,ok\n".encode("utf-16"))
    with pytest.raises(CorpusError, match="line 1: byte 0xff is not UTF-8"):
        read(videos, captions=str(file))


def test_folders_without_videos_are_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"holds no file with a video's name \(.3gp .asf"):
        read(tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        read(tmp_path / "nowhere")


@pytest.mark.slow
def test_large_caption_files_are_read_in_seconds(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "0.mp4").write_bytes(b"")
    n = 200_000
    table = pa.table({"video_id": [str(i % 10000) for i in range(n)], "caption": ["some text"] * n})
    pq.write_table(table, tmp_path / "c.parquet")
    listing = read(tmp_path / "v", captions=str(tmp_path / "c.parquet"))
    assert (len(listing.videos), len(listing.captions)) == (10000, n)


def test_a_file_whose_captions_have_another_name_is_noted(videos, tmp_path):
    file = written(tmp_path / "c.csv", "video_id,text\na,x\n")
    (problem,) = read(videos, captions=file).problems
    assert problem.startswith(f"{file}: no column is called caption")
    assert "corpus.columns.caption=text" in problem
    assert read(videos, captions=file, columns={"caption": "text"}).problems == ()
