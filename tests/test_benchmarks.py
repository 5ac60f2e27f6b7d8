"""The benchmarks that use one another's parts still run; their numbers are no matter here."""

import multiprocessing
import os
import sys

import numpy as np
import pytest

from reelvec.models.clip.architecture import Architecture
from reelvec.storage.video.probe import probe
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.searching.search import best_videos
from tests.benchmarks import (
    _all_pairs,
    _script,
    bounds,
    commits,
    end_to_end,
    extraction,
    growth,
    heads,
    timeline,
    training,
    whole_run,
)
from tests.benchmarks._installed import missing
from tests.benchmarks._processes import found_apart
from tests.benchmarks._trees import Cost
from tests.support import media

TINY = Architecture(
    embed_dim=64,
    image_size=16,
    vision_layers=2,
    vision_width=64,
    patch_size=8,
    text_width=64,
    text_layers=2,
    vocab_size=1000,
)


@pytest.mark.parametrize("has_cv2", [True, False])
def test_extraction_prints_its_table(has_cv2, monkeypatch, capsys):
    if has_cv2:
        pytest.importorskip("cv2")
    path = media.video("h264_mp4")
    monkeypatch.setattr(extraction, "HAS_CV2", has_cv2)
    monkeypatch.setattr(extraction, "ROUNDS", 1)
    monkeypatch.setattr(extraction, "corpus", lambda _: ("file", [path]))
    extraction.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[-3] for row in rows] == ["6"] * 5  # one frame a second, each way


@pytest.mark.parametrize("options", [[], ["--precision", "bf16", "--original", "bf16"]])
def test_both_training_steps_have_the_same_gradients(options, monkeypatch, capsys):
    monkeypatch.setattr(training, "FORMS", {"tiny": (TINY, 3, 1)})
    training.main(["tiny", *options])
    shown = capsys.readouterr().out.splitlines()
    rows = [row.split() for row in shown if " of 12 " in row]
    captions = [row.split() for row in shown if row.endswith("(captions)")]
    assert [row[0] for row in captions] == ["8", "16", "24"]
    assert all(float(row[-2]) < 1e-5 for row in captions)
    assert [row[0] for row in rows] == ["3", "8", "12"]
    for row in rows:
        assert float(row[-2]) > 0
        assert float(row[-1]) < (0.1 if options else 1e-4)


def test_steps_of_a_head_are_measured_in_each_way(monkeypatch, capsys):
    monkeypatch.setattr(heads, "FORMS", {"small": (TINY, 3, 1)})
    heads.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[2] for row in rows] == list(heads.WAYS)
    assert all(float(row.split(" | ")[3]) > 0 for row in rows)


@pytest.mark.parametrize("name", _all_pairs.LOST)
def test_brute_force_has_the_answers_of_every_row_s_score(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_all_pairs, "VIDEOS", 48)
    model = bounds.model_of(name)
    drawn, scoring = bounds.Drawn(model, near=0.9), scoring_of(model)
    table = bounds.table_of(tmp_path, drawn, videos=150)
    texts = [drawn.text(number, videos=150) for number in range(3)]
    found, again, apart = _all_pairs.best_of_all(name, model, table, texts, scoring=scoring, top=5)
    expected = [
        best_videos(text.columns(), embeddings=table, top=5, scoring=scoring) for text in texts
    ]
    assert found == expected and 5 <= again < 100 and 0 < apart < 1


def test_commits_name_the_rival_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setattr(commits, "PRELOADED", [])
    monkeypatch.setattr(commits, "SYSTEMS", (commits.Ours, commits.Lance))
    monkeypatch.setattr(commits.Lance, "package", "no_such")
    commits.main(["--commits", "2", "--s3", "0", "--rows", "3"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[5] for row in rows[:-1] if "read" in row[1]] == ["9 rows", "9 rows", "69 rows"]
    assert rows[-1][1:3] == ["nothing: ModuleNotFoundError: No module named 'no_such'", "Lance"]


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_mkv", "mpeg4_avi", "vp9_webm"])
def test_a_clip_with_a_number_behind_it_is_as_whole_as_before(kind, tmp_path):
    path = media.video(kind)
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes() + whole_run.behind(path.suffix, 12345))
    before, after = probe(path), probe(copy)
    assert (after.frames_counted, after.truncated) == (before.frames_counted, "")


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_mp4_one_gop", "h264_mkv", "vp9_webm"])
def test_the_script_reads_the_seconds_that_our_model_reads(kind, monkeypatch):
    """Six seconds of 25 frames; with its seeks it finds the frames that a count finds."""
    monkeypatch.setattr(_script, "FRAMES", 3)
    read = _script.read_pyav(media.video(kind), 64)
    assert [media.barcode(picture) for picture in read] == [0, 50, 125]


def test_a_rival_that_does_not_load_says_why_and_the_others_have_rows(capsys):
    assert missing("json") is None
    assert missing("no_such") == "ModuleNotFoundError: No module named 'no_such'"
    ours, theirs = {"first run": Cost(3, 4, 100)}, {"first run": Cost(2, 8, 50)}
    table = {"clip00000": np.array([1.0, 0.0])}
    end_to_end.show({"ours": ours, "theirs": theirs}, {"ours": table, "theirs": table})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["ours", "first", "run", "3.0", "4.0", "100"]
    assert rows[2] == ["theirs", "first", "run", "2.0", "8.0", "50", "1.50", "0.50"]
    assert rows[3][-1] == "1.0000"


def test_a_benchmark_whose_process_dies_says_so():
    assert found_apart(divmod, 7, 2) == (3, 1)
    with pytest.raises(SystemExit, match=r"_exit\(3,\): its process ended with code 3"):
        found_apart(os._exit, 3)


def test_growth_finds_nothing_to_do_in_what_it_generates(tmp_path):
    growth.generate(tmp_path, videos=600)
    session = growth.session_of(tmp_path)
    growth.a_night_without_work(session)
    growth.a_night_without_work_with_captions(session)
    growth.a_night_with_one_video(session)
    with (tmp_path / "captions.csv").open("a") as file:
        file.write("00000/000000007,one more\n")
    with pytest.raises(AssertionError):
        growth.nothing_to_ingest_with_captions(session)


@pytest.mark.timeout(60)
def test_commits_do_not_wait_for_a_process_that_has_died():
    context = multiprocessing.get_context("spawn")
    queue, process = context.Queue(), context.Process(target=os._exit, args=(3,))
    process.start()
    assert commits.ended(process, queue)[2] == "its process ended with 3"


def test_growth_measures_a_step_twice_in_a_store_it_keeps(tmp_path, capsys):
    step = "a-night-without-work"
    given = ["--videos", "600", "--at", str(tmp_path), "--steps"]
    growth.main([*given, step, step])
    made = (tmp_path / "600" / "made").stat().st_mtime_ns
    growth.main([*given, step])
    assert capsys.readouterr().out.count("| a night without work | 600 |") == 3
    assert (tmp_path / "600" / "made").stat().st_mtime_ns == made


def test_a_timeline_tells_processes_and_words_apart(capsys):
    busy = "sum(range(2_000_000))"
    parent = f"import subprocess, sys; print('begun', flush=True); {busy};"
    parent += f" subprocess.run([sys.executable, '-c', '{busy}'], check=True)"
    spent, words, clock = timeline.watched([sys.executable, "-c", parent], step=60)
    assert len(spent) == 2 and all(one > 0 for one in spent.values()) and words[0] == ["begun"]
    timeline.show({(7, 0): 0.3, (9, 2): 0.2}, {2: ["begun", "", "ended"]}, step=0.2)
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        ["0.0", "1.50", "1.50"],
        ["0.2", "0.00"],
        ["0.4", "1.00", "1.00", "begun;", "ended"],
    ]
    assert rows[2].index("1.00", 13) - rows[0].index("1.50", 13) == 6, "a column each"
    assert clock > 0
