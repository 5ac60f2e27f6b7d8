"""Captions as people write them: read, or the fault named; one bad row costs itself."""

import bz2
import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelvec.configs.schema import FolderCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.check import check_listing
from reelvec.storage.errors import CorpusError

TEXTS = {"0001": "a dog runs", "0002": "a cat, asleep", "0010": "rain"}


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in TEXTS:
        (folder / f"{name}.mp4").write_bytes(b"")
    return folder


def reader(videos, content, name="c.csv", **options):
    file = videos.parent / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_corpus(
        FolderCorpus(videos=str(videos), captions=str(file), **options), store_dir="/nowhere"
    )


def texts(listing):
    return {caption.video_id: caption.text for caption in listing.captions}


def table(separator=",", header=("video_id", "caption"), end="\n"):
    rows = [header, *((name, f'"{text}"') for name, text in TEXTS.items())]
    return "".join(separator.join(row) + end for row in rows)


ENTRIES = [{"video_id": name, "caption": text} for name, text in TEXTS.items()]
MSRVTT = {
    "info": {"year": "2016"},
    "videos": [{"video_id": name, "id": n, "split": "validate"} for n, name in enumerate(TEXTS)],
    "sentences": [{**entry, "sen_id": n} for n, entry in enumerate(ENTRIES)],
}
SPELLINGS = {
    "semicolons": ("c.csv", table(";")),
    "tabs in a .csv": ("c.csv", table("\t")),
    "bars": ("c.txt", table("|")),
    "commas in a .tsv": ("c.tsv", table()),
    "excel's line": ("c.csv", "sep=;\r\n" + table(";", end="\r\n")),
    "excel's empty cells and lines": (
        "c.csv",
        table(end=",,\n").replace("caption,,", "caption") + ",\n,,,\n",
    ),
    "spaces in the header": ("c.csv", table(header=("video_id ", "caption "))),
    "spaces after commas": ("c.csv", table(", ")),
    "capitals in the header": ("c.csv", table(header=("Video_ID", "CAPTION"))),
    "spaces around ids": ("c.csv", table().replace("\n00", "\n 00")),
    "old line ends": ("c.csv", table(end="\r")),
    "byte order mark": ("c.csv", b"\xef\xbb\xbf" + table().encode()),
    "gzip": ("c.csv.gz", gzip.compress(table().encode(), mtime=0)),
    "gzip under another name": ("c.csv", gzip.compress(table().encode(), mtime=0)),
    "plain text called gzip": ("c.csv.gz", table()),
    "bzip2": ("c.jsonl.bz2", bz2.compress("\n".join(map(json.dumps, ENTRIES)).encode())),
    "zstandard": ("c.json.zst", pa.compress(json.dumps(ENTRIES).encode(), "zstd", asbytes=True)),
    "list of objects": ("c.json", json.dumps(ENTRIES, indent=1)),
    "id to caption": ("c.json", json.dumps(TEXTS)),
    "id to captions": ("c.json", json.dumps({name: [text] for name, text in TEXTS.items()})),
    "id to object": ("c.json", json.dumps({n: {"caption": [t]} for n, t in TEXTS.items()})),
    "id to objects": ("c.json", json.dumps({n: [{"caption": t}] for n, t in TEXTS.items()})),
    "msr-vtt": ("c.json", json.dumps(MSRVTT)),
    "one wrapper": ("c.json", json.dumps({"version": 1, "data": ENTRIES})),
    "pandas, by column": (
        "c.json",
        json.dumps(
            {
                key: {str(n): entry[key] for n, entry in enumerate(ENTRIES)}
                for key in ("video_id", "caption")
            }
        ),
    ),
    "lists by column": (
        "c.json",
        json.dumps({"video_id": list(TEXTS), "caption": list(TEXTS.values())}),
    ),
    "lines called .json": ("c.json", "\n".join(map(json.dumps, ENTRIES))),
    "a list called .jsonl": ("c.jsonl", json.dumps(ENTRIES, indent=1)),
    "ndjson in capitals": ("C.NDJSON", "\n".join(map(json.dumps, ENTRIES))),
}


@pytest.mark.parametrize(("name", "content"), SPELLINGS.values(), ids=SPELLINGS)
def test_read_whatever_its_spelling(videos, name, content):
    listing = reader(videos, content, name).read()
    assert texts(listing) == TEXTS
    assert listing.problems == ()
    assert [Path(video.path).stem for video in listing.videos] == list(TEXTS)
    split = "val" if content == SPELLINGS["msr-vtt"][1] else ""
    assert {video.split for video in listing.videos} == {split}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "id;text\n0001;x\n", "(the columns are: id, text); map one, e.g. --set corpus."),
        ("c.csv", table(";").replace(";", ":"), "no column names the video"),
        ("c.json", json.dumps(["0001", "x"]), "entry 1 is '0001'; captions are a list of objects"),
        ("c.json", json.dumps({"0001": 3}), "'0001' has 3; captions are a list"),
        ("c.json", json.dumps({"0001": [["x"]]}), "'0001' has [['x']]"),
        ("c.json", json.dumps({"video_id": ["a", "b"], "caption": ["x"]}), "has not one value a"),
        ("c.json", '{"0001": "x",\n"0001": "y"}', "line 2: '0001' stands twice"),
        ("c.csv.gz", gzip.compress(table().encode(), mtime=0)[:-20], "cannot be unpacked"),
        ("c.csv", b"PK\x03\x04....", "is an Excel workbook"),
        ("c.json", "<!DOCTYPE html><html>", "is an HTML page"),
        ("c.csv", b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        ("c.csv", "video_id,Caption,CAPTION\n0001,x,y\n", "may both be caption"),
    ],
)
def test_or_its_fault_is_named(videos, name, content, message):
    with pytest.raises(CorpusError) as caught:
        reader(videos, content, name).read()
    assert message in str(caught.value)
    assert str(videos.parent / name) in str(caught.value)


def test_a_column_that_is_not_found_names_the_nearest_and_fails_the_check(videos):
    found = check_listing("folder", reader=reader(videos, "video_id,captoin\n0001,x\n"))
    assert not found.complete
    (problem,) = found.problems
    assert (
        "did you mean 'captoin'? name yours, e.g. --set corpus.columns.caption=captoin" in problem
    )


ROWS = [
    ({"caption": ""}, "the caption of video '0002' is ''"),
    ({"caption": "  \n"}, "the caption of video '0002' is"),
    ({"caption": 3}, "the caption of video '0002' is 3"),
    ({"caption": "\ud800"}, "the caption of video '0002' is '\\ud800'"),
    ({"caption": [None]}, "the caption of video '0002' is None"),
    ({"video_id": ""}, "names no video"),
    ({"video_id": 1.5}, "video_id is 1.5"),
    ({"video_id": "\ud800"}, "video_id is '\\ud800'"),
    ({"video_id": "a\0"}, "holds a zero byte"),
    ({"path": "\udcff.mp4"}, "path is '\\udcff.mp4'"),
    ({"split": "\ud800"}, "split is '\\ud800'"),
    ({"subset": "\ud800"}, "subset is '\\ud800'"),
    ({"start": 2, "end": 2}, "the piece 2 to 2 s is empty"),
    ({"start": 3, "end": 2}, "the piece 3 to 2 s is empty"),
    ({"end": 0}, "the piece 0 to 0 s is empty"),
    ({"start": "soon"}, "start is 'soon'"),
    ({"start": -1}, "start is -1"),
    ({"start": True}, "start is True"),
    ({"end": float("nan")}, "end is nan"),
    ({"end": 10**400}, "end is 1000"),
]


@pytest.mark.parametrize(("values", "why"), ROWS)
def test_a_row_that_cannot_be_used_costs_itself(videos, values, why):
    rows = [ENTRIES[0], {**ENTRIES[1], **values}, ENTRIES[2]]
    source = reader(videos, "\n".join(map(json.dumps, rows)), "c.jsonl")
    listing = source.read()
    assert texts(listing) == {"0001": TEXTS["0001"], "0010": TEXTS["0010"]}
    assert [video.video_id for video in listing.videos] == list(TEXTS)
    (problem,) = listing.problems
    assert "rows or captions left out: 1 (" in problem and "line 2" in problem
    assert why in problem
    assert not check_listing("folder", reader=source).complete


def test_a_file_without_any_usable_row_is_refused(videos):
    rows = "video_id,caption,start\n" + "0001,x,soon\n" * 500
    words = "no row can be used; .*left out: 500 .*line 2: start is 'soon'"
    with pytest.raises(CorpusError, match=words):
        reader(videos, rows).read()


# names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["0001", "0001.mp4", "0001.MP4", " 0001.mp4 ", "./0001.mp4", ".\\0001.mp4", "x/../0001.mp4"],
)
@pytest.mark.parametrize("column", ["path", "video_id"])
def test_names_in_other_spellings_find_their_file(videos, name, column):
    rows = json.dumps({column: name, "caption": "x"})
    listing = reader(videos, rows, "c.jsonl").read()
    assert len(listing.videos) == 3
    (caption,) = listing.captions
    paths = {video.video_id: video.path for video in listing.videos}
    assert paths[caption.video_id] == str(videos / "0001.mp4")


def test_case_and_composition_are_no_matter_where_one_file_fits(videos):
    (videos / "Caf\u00e9.MP4").write_bytes(b"")
    listing = reader(videos, "path,caption\ncafe\u0301.mp4,x\n").read()
    assert texts(listing) == {"Caf\u00e9": "x"}
    assert "or no extension): 1" in listing.notes[0]


def test_ambiguous_names_are_explained(videos):
    (videos / "0001.mkv").write_bytes(b"")
    for rows in ("path,caption\n0001,x\n", "video_id,caption\n0001,x\n"):
        with pytest.raises(CorpusError, match=r"'0001' may be '0001.mkv' or '0001.mp4'; write the"):
            reader(videos, rows).read()
    (videos / "Twin.mp4").write_bytes(b"")
    (videos / "twin.mp4").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"may be 'Twin.mp4' or 'twin.mp4'"):
        reader(videos, "path,caption\nTWIN.mp4,x\n").read()
    assert texts(reader(videos, "path,caption\ntwin.mp4,x\nTwin.mp4,y\n").read()) == {
        "twin": "x",
        "Twin": "y",
    }


def test_a_lost_file_is_not_its_twin(videos):
    """One of two names that differ in case alone is gone: the other is not both."""
    (videos / "twin.mp4").write_bytes(b"")
    for rows in ("twin.mp4,x\nTwin.mp4,y\n", "Twin.mp4,y\ntwin.mp4,x\n"):
        with pytest.raises(CorpusError, match="spell both alike"):
            reader(videos, "path,caption\n" + rows).read()


def test_another_extension_is_another_file(videos):
    listing = reader(videos, "path,caption\n0001.avi,x\n0002.avi,y\n0010.mp4,z\n").read()
    assert texts(listing) == {"0001.avi": "x", "0002.avi": "y", "0010": "z"}
    (note,) = listing.notes
    assert "that find no file: 2; files named by no row: 2; the nearest" in note
    assert "'0001.avi' is not there, '0001.mp4' is" in note


def test_when_all_miss_the_nearest_are_shown(videos):
    (note,) = reader(videos, "video_id,caption\nv0001,x\nv0002,y\nv0010,z\n").read().notes
    assert "that find no file: 3; files named by no row: 3" in note
    assert "'v0001' is not there, '0001.mp4' is; " in note


def test_even_a_far_name_shows_the_nearest(videos):
    (note,) = reader(videos, "video_id,caption\n0099,x\n0001,y\n0002,z\n").read().notes
    assert "'0099' is not there, '0010.mp4' is" in note


def test_ids_given_away_do_not_clash(videos):
    """A row calls 0001.mp4 what another file would be called: nobody is named twice."""
    listing = reader(videos, "video_id,path,caption\n0002,0001.mp4,x\n").read()
    assert {video.video_id: Path(video.path).name for video in listing.videos} == {
        "0002": "0001.mp4",
        "0002.mp4": "0002.mp4",
        "0010": "0010.mp4",
    }
    assert "files that no row names" in listing.notes[0] and ": 1; the first" in listing.notes[0]
    with pytest.raises(CorpusError, match="rename the file, or give that row another video_id"):
        reader(videos, "video_id,path,caption\n0002,0001.mp4,x\n0002.mp4,0001.mp4,x\n").read()


# splits --------------------------------------------------------------------------------------


def splits(listing):
    return {video.video_id: video.split for video in listing.videos}


def test_splits_are_folded(videos):
    rows = "video_id,caption,split\n0001,x,Train\n0002,y,TEST\n0010,z, Validation \n"
    assert splits(reader(videos, rows).read()) == {"0001": "train", "0002": "test", "0010": "val"}
    whole = reader(videos, table(), splits={"Training": 0.0, "TEST": 1.0})
    assert set(splits(whole.read()).values()) == {"test"}


def test_files_of_one_split_under_two_names_are_both_read(videos):
    for name, text in (("one.csv", "0001,x"), ("two.csv", "0002,y")):
        (videos.parent / name).write_text(f"video_id,caption\n{text}\n")
    files = {"val": str(videos.parent / "one.csv"), "Validation": str(videos.parent / "two.csv")}
    config = FolderCorpus(videos=str(videos), captions=files)
    listing = open_corpus(config, store_dir="/nowhere").read()
    assert splits(listing) == {"0001": "val", "0002": "val", "0010": "unlisted"}


def test_a_blank_split_is_unlisted(videos):
    rows = "video_id,caption,split\n0001,x,train\n0002,y,\n0001,w,\n"
    listing = reader(videos, rows).read()
    assert splits(listing) == {"0001": "train", "0002": "unlisted", "0010": "unlisted"}
    assert len(listing.captions) == 3
    lines = '{"video_id": "0001", "caption": "x"}\n{"video_id": "0002", "split": "Test"}'
    listing = reader(videos, lines, "c.jsonl").read()
    assert splits(listing) == {"0001": "unlisted", "0002": "test", "0010": "unlisted"}


def test_a_test_set_that_says_little_is_told(videos):
    rows = "video_id,caption,split\n0001,x,test\n0002,y,dev\n"
    (note,) = check_listing("folder", reader=reader(videos, rows)).notes
    assert "the split test has 1 videos: so few" in note
    rows = "video_id,caption,split\n0001,x,eval\n"
    (note,) = check_listing("folder", reader=reader(videos, rows)).notes
    assert "no video is in the split test (the splits are: eval, unlisted)" in note


# what is no text -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c.csv", "c.json", "c.jsonl", "c.parquet"])
def test_pipes_devices_and_folders_are_no_caption_files(videos, name):
    config = FolderCorpus(videos=str(videos), captions=str(videos.parent / name))
    for make, kind in (
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/dev/zero", path), "a device"),
        (lambda path: os.symlink(path, path), "cannot be read"),
    ):
        make(videos.parent / name)
        with pytest.raises(CorpusError, match=kind):
            open_corpus(config, store_dir="/nowhere").read()
        (os.rmdir if kind == "a folder" else os.unlink)(videos.parent / name)


def test_parquet_that_is_not_utf8_names_its_row(videos):
    texts = pa.array([b"fine"] * 4 + [b"caf\xe9"], pa.binary()).view(pa.string())
    rows = pa.table({"video_id": ["0001"] * 5, "caption": texts})
    pq.write_table(rows, videos.parent / "c.parquet")
    config = FolderCorpus(videos=str(videos), captions=str(videos.parent / "c.parquet"))
    with pytest.raises(CorpusError, match=r"line 5: .*not UTF-8"):
        open_corpus(config, store_dir="/nowhere").read()


def test_parquet_columns_of_other_types_are_named(videos):
    rows = pa.table({"video_id": ["0001"], "caption": pa.array([0], pa.timestamp("s"))})
    pq.write_table(rows, videos.parent / "c.parquet")
    config = FolderCorpus(videos=str(videos), captions=str(videos.parent / "c.parquet"))
    with pytest.raises(CorpusError, match="column 'caption' is no text, number or list of texts"):
        open_corpus(config, store_dir="/nowhere").read()


def test_parquet_dictionaries_and_lists_are_read(videos):
    rows = pa.table(
        {
            "Video_ID": pa.array(list(TEXTS)).dictionary_encode(),
            "caption": [[text] for text in TEXTS.values()],
            "when": pa.array([0] * 3, pa.timestamp("s")),
        }
    )
    pq.write_table(rows, videos.parent / "c.parquet", row_group_size=2)
    config = FolderCorpus(videos=str(videos), captions=str(videos.parent / "c.parquet"))
    assert texts(open_corpus(config, store_dir="/nowhere").read()) == TEXTS
