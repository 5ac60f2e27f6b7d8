"""Closed conditions of the page: what fits, and what is refused in words."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from reelvec.errors import RequestError
from reelvec.storage.records import VIDEO_SCHEMA, records_to_table
from reelvec.tasks.searching.conditions import Condition, columns_of, described, fitting
from reelvec.tasks.searching.plane import points_of
from reelvec.tasks.searching.vectors import VectorIndex
from tests.support.small_store import make_store, plain_captions, plain_videos, video

DAYS = [datetime.datetime(2026, 3, day) for day in (1, 2, 3)]


@pytest.fixture(scope="module")
def table():
    videos = records_to_table([video(n) for n in range(5)], schema=VIDEO_SCHEMA)
    duration = pa.array([None, 4.0, 6.0, 8.0, None], pa.float64())
    place = videos.schema.get_field_index("end_seconds")
    videos = videos.set_column(place, videos.schema.field(place), duration)
    attributes = pa.table(
        {
            "video_id": ["v003", "v001", "v002", "elsewhere"],
            "lang": pa.array(["en", None, "de", "fr"]).dictionary_encode(),
            "views": pa.array([10, 2**53, None, 1], pa.int64()),
            "cut": [True, False, None, True],
            "day": pa.array([*DAYS, None], pa.timestamp("us")),
            "people": [["a"], [], None, ["b"]],
        }
    )
    return described(videos, attributes)


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ([("lang", "=", "en")], [3]),
        ([("lang", "!=", "en")], [2]),
        ([("lang", "has none")], [0, 1, 4]),
        ([("lang", "contains", "E")], [2, 3]),
        ([("views", ">", 9)], [1, 3]),
        ([("views", ">=", 10), ("cut", "=", True)], [3]),
        ([("cut", "=", False)], [1]),
        ([("day", ">", "2026-03-01")], [1, 2]),
        ([("day", "<", "2026-03-01T12:00:00")], [3]),
        ([("duration", "<=", 4)], [0, 1, 4]),
        ([("duration", ">", 4.5), ("path", "contains", "v002")], [2]),
        ([], range(5)),
    ],
)
def test_every_condition_holds_of_what_fits(table, conditions, ids):
    found = fitting(table, [Condition(*one) for one in conditions])
    assert found.to_pylist() == [f"v{n:03d}" for n in ids]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (("nope", "=", 1), r"no column is called \(nope\); there are .*lang"),
        (("people", "=", "a"), "no column is called"),
        (("video_id", "=", "v000"), "no column is called"),
        (("lang", "<", "en"), r"\(<\) cannot be asked of lang, a text"),
        (("lang", "=", 3), "give a text"),
        (("views", "=", "1; DROP TABLE videos"), "give a number"),
        (("views", "=", True), "give a number"),
        (("cut", "=", "yes"), "give true or false"),
        (("day", "<", "soon"), "give a time"),
        (("day", "<", 3), "give a time"),
        (("lang", "=", "' or 1=1"), "no video fits the filters"),
        (("views", ">", float("nan")), "no video fits"),
    ],
)
def test_what_cannot_be_asked_is_said(table, condition, words):
    with pytest.raises(RequestError, match=words):
        fitting(table, [Condition(*condition)])


def test_columns_say_what_can_be_asked(table):
    found = {column.name: column for column in columns_of(table)}
    kinds = {name: found[name].kind for name in ("lang", "views", "cut", "day", "duration")}
    assert list(kinds.values()) == ["text", "number", "truth", "time", "number"]
    assert found["lang"].values == ("de", "en")
    assert "people" not in found and "content_hash" not in found


def test_an_attribute_may_not_hide_a_column_of_the_corpus():
    videos = records_to_table([video(0)], schema=VIDEO_SCHEMA)
    with pytest.raises(RequestError, match="has a column duration itself"):
        described(videos, pa.table({"video_id": ["v000"], "duration": [1.0]}))


def test_a_map_is_two_principal_axes_made_once(tmp_path, monkeypatch):
    listed = plain_videos(9)
    store = make_store(tmp_path, videos=listed, captions=plain_captions(listed))
    index = VectorIndex.of(store.embeddings)
    found = points_of(store.embeddings, index=index)
    vectors = np.stack([store.videos[name] for name in sorted(store.videos)]).astype(float)
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-5)

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("reelvec.tasks.searching.plane.principal_axes", never)
    assert np.array_equal(points_of(store.embeddings, index=index), found)
