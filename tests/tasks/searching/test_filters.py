"""What an expression lets through, what it can never reach, what is said of a wrong one."""

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelvec.errors import RequestError
from reelvec.storage.errors import ReelvecError
from reelvec.storage.records import VIDEO_SCHEMA, Video, records_to_table
from reelvec.tasks.searching.filters import attributes_in, videos_where

VIDEOS = records_to_table(
    [
        Video("whole", "/w.mp4", split="test", duration_seconds_from_header=20.0, height=480),
        Video("window", "/w.mp4", split="test", start_seconds=5.0, end_seconds=8.0, height=720),
        Video("gif", "/g.gif", split="train", frames_counted=50, fps_container=25.0),
        Video("unknown", "/u.ts"),
    ],
    schema=VIDEO_SCHEMA,
)
ATTRIBUTES = pa.table(
    {
        "video_id": ["window", "whole", "elsewhere"],
        "lang": ["en", "de", "en"],
        "stars": [4.5, None, 1.0],
        "public": [True, False, True],
        "added": [datetime.date(2026, 1, 2)] * 3,
    }
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("duration > 10", ["whole"]),
        ("duration between 2 and 3", ["gif", "window"]),
        ("duration is null", ["unknown"]),
        ("split = 'test' and height >= 720", ["window"]),
        ("lang = 'en'", ["window"]),
        ("lang is null", ["gif", "unknown"]),
        ("public or stars is null", ["gif", "unknown", "whole", "window"]),
        ("added < date '2026-02-01' and not public", ["whole"]),
        ("video_id like 'w%'", ["whole", "window"]),
    ],
)
def test_what_fits_is_found(where, expected):
    found = videos_where(where, videos=VIDEOS, attributes=ATTRIBUTES)
    assert sorted(found.to_pylist()) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nope = 1", r"cannot filter by \(nope = 1\).*nope.*columns are: video_id.*duration, lang"),
        ("duration >", "syntax error"),
        ("", "cannot filter by"),
        ("true; drop table x", "cannot filter by"),
        ("true) or (true; select 1", "cannot filter by"),
        ("true limit 1", "cannot filter by"),
        ("count(*) > 1", "aggregates"),
        ("duration = 'long'", "Could not convert"),
        ("exists (select * from read_text('/etc/hostname'))", "disabled by configuration"),
        ("exists (select * from read_parquet('https://x.example/a'))", "cannot filter by"),
        ("exists (select * from VIDEOS)", "does not exist"),
        ("duration > 1e9", r"no video fits \(duration > 1e9\)"),
    ],
)
def test_what_is_wrong_or_reaches_out_is_refused_in_words(where, message):
    with pytest.raises(RequestError, match=message):
        videos_where(where, videos=VIDEOS, attributes=ATTRIBUTES)


def test_a_column_of_the_corpus_is_not_written_over():
    clash = pa.table({"video_id": ["whole"], "duration": [1]})
    with pytest.raises(RequestError, match="column duration itself"):
        videos_where("true", videos=VIDEOS, attributes=clash)


def test_attributes_are_read_with_their_types(tmp_path):
    file = tmp_path / "attributes.parquet"
    pq.write_table(ATTRIBUTES.append_column("nested", [[{"a": 1}] * 3]), file)
    assert attributes_in(file).equals(ATTRIBUTES)  # what no expression can use is left out


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a"]}, r"no column video_id of texts \(they have: id\)"),
        ({"video_id": [1]}, "no column video_id of texts"),
        ({"video_id": ["a", "b", "a"]}, r"the video \(a\) more than once"),
        (None, "not a readable Parquet file"),
    ],
)
def test_attributes_that_are_none_are_refused(tmp_path, table, message):
    file = tmp_path / "attributes.parquet"
    file.write_text("video_id,lang") if table is None else pq.write_table(pa.table(table), file)
    with pytest.raises(ReelvecError, match=message):
        attributes_in(file)
