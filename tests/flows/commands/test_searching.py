"""search by every kind of query: the Python API on a terminal, as text, JSON or CSV."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import reelvec
from tests.support.command_line import typed


@pytest.fixture
def words(monkeypatch, capsys, real_store):
    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", real_store.store)

    return call


@pytest.fixture
def run(real_store):
    return reelvec.open(real_store.store).run()


def test_many_queries_of_a_file_answer_as_each_alone(words, run, tmp_path):
    file = tmp_path / "queries.txt"
    file.write_text("\ufeffa shape\n\n  another shape, take 1  \n", "utf-8")
    code, out, _ = words("search", "--batch", file, "--top", "3", "--json")
    found = json.loads(out)["queries"]
    assert (code, [one["query"] for one in found]) == (0, ["a shape", "another shape, take 1"])
    for one in found:
        rows = run.search(one["query"], top=3)
        assert one["results"] == [json.loads(json.dumps(row.as_dict())) for row in rows]


def test_csv_has_every_digit(words, run):
    _, out, err = words("search", "a shape", "--csv", "--split", "test")
    rows = list(csv.DictReader(io.StringIO(out)))
    expected = run.search("a shape", split="test")
    assert [(r["video_id"], float(r["score"]), r["unit"]) for r in rows] == [
        (row.video_id, row.score, "cosine") for row in expected
    ]
    assert {row["split"] for row in rows} == {"test"} and "UNTRAINED" in err


def test_a_video_a_file_and_its_vector_have_the_same_neighbours(words, run, tmp_path):
    ids, vectors = run.videos.numpy()
    best = run.search("a shape", top=1)[0]
    np.save(tmp_path / "v.npy", vectors[list(ids).index(best.video_id)])
    answers = {}
    for how, what in [
        ("--like", best.video_id),
        ("--file", best.path),
        ("--vectors", tmp_path / "v.npy"),
    ]:
        code, out, _ = words("search", how, what, "--json")
        answers[how] = [(r["video_id"], r["score"]) for r in json.loads(out)["results"]]
        assert code == 0
    assert answers["--file"] == answers["--vectors"] and len(answers["--file"]) == 8
    assert answers["--file"][0][0] == best.video_id
    assert answers["--like"] == answers["--file"][1:]


def test_a_picture_is_searched_with(words, run, tmp_path):
    frame = Image.fromarray(run.frames("clip5").frames[0])
    frame.save(tmp_path / "frame.png")
    code, out, _ = words("search", "--file", tmp_path / "frame.png", "--json")
    (expected,) = run.encode_frames([run.frames("clip5").frames[:1]])
    with run.searches() as searches:
        (rows,) = searches.vectors(expected[None])
    assert code == 0 and [r["video_id"] for r in json.loads(out)["results"]] == [
        row.video_id for row in rows.rows
    ]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ([], 2, "given: nothing"),
        (["a", "--like", "clip1"], 2, "given: TEXT and --like;"),
        (["a", "--json", "--csv"], 2, "--json and --csv are both given"),
        (["--batch", "nowhere.txt"], 2, "nowhere.txt"),
        (["--batch", "empty.txt"], 2, "has no query"),
        (["--batch", "latin.txt"], 2, "give a UTF-8 text file"),
        (["a", "--where", " "], 2, "--where is empty"),
        (["--vectors", "nowhere.npy"], 2, "(nowhere.npy): No such file or directory; give"),
        (["--vectors", "latin.txt"], 2, "give what numpy.save wrote"),
        (["--vectors", "objects.npy"], 2, "give what numpy.save wrote"),
        (["--vectors", "narrow.npy"], 1, "they must be [Q, "),
        (["--vectors", "whole.npy"], 1, "they must be floats"),
        (["--vectors", "none.npy"], 1, "the vectors are [0, "),
        (["--vectors", "nan.npy"], 1, "the vector of row 1 holds NaN or infinity"),
        (["--vectors", "zero.npy"], 1, "the vector of row 0 is zero"),
        (["--like", "nope"], 1, "no video is called (nope)"),
        (["--like", "broken"], 1, "no vector of the video (broken)"),
        (["--file", "nowhere.mp4"], 1, "cannot search with the file"),
        (["--file", "latin.txt"], 1, "cannot search with the file"),
        (["--file", "cut.png"], 1, "cannot search with the picture"),
        (["a", "--split", "nope"], 1, "no video is of the split (nope)"),
    ],
)
def test_what_cannot_be_searched_with_is_said(words, run, tmp_path, monkeypatch, given, code, said):
    monkeypatch.chdir(tmp_path)
    width = run.videos.numpy()[1].shape[1]
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    np.save("objects.npy", np.array([{}], object))
    np.save("narrow.npy", np.ones((2, 3), np.float32))
    np.save("whole.npy", np.ones((1, width), np.int64))
    np.save("none.npy", np.ones((0, width)))
    np.save("nan.npy", np.diag([1, np.nan, 1]) @ np.ones((3, width)))
    np.save("zero.npy", np.zeros((1, width)))
    Image.new("RGB", (400, 400)).save("whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    found, out, err = words("search", *given)
    assert (found, out) == (code, "") and said in err and err.count("\n") == 1


def test_where_looks_among_what_fits_alone(words, run, tmp_path):
    every = [row.video_id for row in run.search("a shape", top=100)]
    some = every[::2]
    table = pa.table(
        {"video_id": every, "lang": ["en" if name in some else "de" for name in every]}
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    mine = ["--attributes", tmp_path / "mine.parquet"]
    where = ["--where", "lang = 'en' and duration > 0"]
    code, out, _ = words("search", "a shape", "--top", "100", *where, *mine, "--json")
    assert (code, [row["video_id"] for row in json.loads(out)["results"]]) == (0, some)
    for wrong, message in [
        (mine, "--attributes is given without --where"),
        (["--where", "language = 'en'"], "The columns are: video_id"),
        ([*where, "--attributes", tmp_path / "none.parquet"], "none.parquet"),
    ]:
        code, _, err = words("search", "a shape", *wrong)
        assert code == 2 and message in " ".join(err.split())
        assert "packets" not in err


def test_an_index_is_made_and_searched_with(words, run):
    pytest.importorskip("faiss")
    code, out, _ = words("index", "--recall", "0.9", "--dimensions", "8", "--json")
    facts = json.loads(out)
    assert (code, facts["rows"], facts["dimensions"], facts["trained"]) == (0, 8, 8, False)
    assert facts["recall"] == 1.0 and facts["table"] == "videos"
    assert "not trained for vectors cut to 8" in words("index", "--dimensions", "8")[1]
    for what in (["a shape"], ["--like", "clip1"], ["a shape", "--split", "test"]):
        exact, found = (
            json.loads(words("search", *what, *how, "--json")[1]) for how in ([], ["--approximate"])
        )
        assert found["results"] == exact["results"] and found["recall"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--numbers", "int4"],
            "--numbers (int4): it must be 'int8' or 'float32'; without",
        ),
        (["--dimensions", "0"], "--dimensions (0): it must be at least 1; leave it out"),
        (["--dimensions", "100000"], "--dimensions (100000) is more than"),
        (["--recall", "2"], "--recall (2.0): it must be at most 1; without it, it is 0.95"),
        (["--recall", "nan"], "--recall (nan): it must be "),
        (["--queries", "1"], "--queries (1): it must be at least 2"),
    ],
)
def test_an_index_that_cannot_be_made_is_said(words, given, said):
    pytest.importorskip("faiss")
    code, out, err = words("index", *given)
    assert code != 0 and out == "" and said in err and err.count("\n") == 1
