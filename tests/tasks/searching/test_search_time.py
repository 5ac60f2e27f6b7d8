"""What `reelvec search-time` measures: every score, in blocks, and what it writes."""

import csv
import json
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch

from reelvec.tasks.reports.rendering.times import times_figure
from reelvec.tasks.searching import search_time
from reelvec.tasks.searching.search_time import TimeOptions, search_times
from tests.support.command_line import typed

SMALL = TimeOptions(videos=(10, 70), width=64, frames=3, words=5)
NAMES = (
    "dot product", "CLIP2Video", "AdaCLIP qscore", "X-Pool", "TS2-Net", "DRL wti", "X-CLIP",
    "UCoFiA", "tightTransf",
)  # fmt: skip


def parsed(svg):
    return ElementTree.fromstring(svg)  # noqa: S314 - our own


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search_time, "_BLOCK", 32)
    monkeypatch.setattr(search_time, "_ROUNDS", 1)


def test_every_score_is_timed_over_every_number_of_videos(small_blocks):
    told = []
    rows = search_times(SMALL, told=told.append)
    assert told == rows and len(rows) == 18
    for row, name in zip(rows, NAMES * 2, strict=True):
        assert row.score.startswith(name) and row.seconds > 0
    assert [row.times_dot for row in rows[::9]] == [1.0, 1.0]
    assert [row.looks_at_query for row in rows[:9]] == [False] * 2 + [True] * 7
    assert [row.scaled for row in rows if "tight" in row.score] == [False, True]
    stored = {row.score: row.numbers for row in rows}
    assert stored["X-Pool, folded"] == 3 * 64 + 3 + 3 * 9 + 3 * 3, "specs/more-heads.md 2.6"
    assert stored["dot product"] == 64


def test_only_a_block_is_held_and_every_video_is_scored(small_blocks):
    seen = []

    def make(options, videos):
        def score():
            seen.append(videos)
            return torch.rand(1, videos)

        return score, 1

    contender = search_time._Contender("one", True, make)
    seconds, _, scaled = search_time._measured(contender, SMALL, videos=96)
    assert seen == [32, 32, 32] and not scaled and seconds > 0


def test_what_is_measured_on_fewer_is_scaled_up(small_blocks, monkeypatch):
    monkeypatch.setattr(search_time, "_seconds", lambda score, passes: 0.5 * passes)
    plain = search_time._Contender("a", True, lambda options, videos: (None, 1))
    slow = search_time._Contender("b", True, lambda options, videos: (None, 1), slow=True)
    assert search_time._measured(plain, SMALL, videos=64)[0] == 1.0
    assert search_time._measured(plain, SMALL, videos=48)[0] == pytest.approx(0.75)
    assert search_time._measured(slow, SMALL, videos=640)[0] == 5.0


def test_nothing_of_the_process_is_changed(small_blocks):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    search_times(TimeOptions(videos=(4,), width=64, frames=2, words=3))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_command_prints_and_writes(small_blocks, monkeypatch, capsys, tmp_path):
    words = ("search-time", "--videos", "9", "--videos", "40", "--width", "64", "--frames", "2")
    code, out, _ = typed(monkeypatch, capsys, *words, "--words", "4", "--out", str(tmp_path / "o"))
    assert code == 0 and "40 ms" in out and "times dot" in out and "load" in out
    with (tmp_path / "o" / "search-time.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18 and {row["videos"] for row in rows} == {"9", "40"}
    svg = parsed((tmp_path / "o" / "search-time.svg").read_bytes())
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(svg.findall(".//{*}path")) == 9 and len(svg.findall(".//{*}title")) == 18
    code, out, _ = typed(monkeypatch, capsys, *words[:3], "--width", "64", "--json")
    assert code == 0 and len(json.loads(out)["times"]) == 9


@pytest.mark.parametrize(
    "words", [("--videos", "0"), ("--width", "100"), ("--frames", "0"), ("--videos", "many")]
)
def test_a_wrong_call_measures_nothing(monkeypatch, capsys, words):
    code, out, err = typed(monkeypatch, capsys, "search-time", *words)
    assert code == 2 and out == "" and words[0] in err


def test_the_figure_stands_alone_and_its_labels_apart():
    lines = {f"score {i}": [(10.0, 1e-3), (1000.0, 0.1 + i * 1e-5)] for i in range(5)}
    figure = times_figure(
        lines, looks_at_query=frozenset(["score 1"]), scaled=frozenset(["score 2"]), title="<t>"
    )
    assert figure == times_figure(
        lines, looks_at_query=frozenset(["score 1"]), scaled=frozenset(["score 2"]), title="<t>"
    )
    root = parsed(figure)
    labels = [text for text in root.findall(".//{*}text") if text.text.startswith("score")]
    heights = sorted(float(label.get("y")) for label in labels)
    assert len(heights) == 5 and all(b - a >= 15.9 for a, b in pairwise(heights))
    assert b"prefers-color-scheme: dark" in figure and b"href" not in figure
    styles = [path.get("class") for path in root.findall(".//{*}path")]
    assert sorted(styles) == ["line plain"] * 3 + ["line plain scaled", "line query"]
