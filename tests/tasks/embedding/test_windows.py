"""Windows are rows of their own: the vectors of such clips, from frames that were decoded once."""

import shutil

import pytest

from reelvec.configs.corpora import FilmCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.rows import WINDOWS, FileRow
from reelvec.tasks.training import train
from tests.support.engine_free import run_embed, run_extract, run_ingest
from tests.support.film_store import film_config

FACTS = ["window_id", "video_id", "split", "start_seconds", "end_seconds", "frame_count"]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two films as files, and when their events are."""
    corpus = FilmCorpus(kind="films", videos=2, events=2, fps=2, size=64)
    listing = open_corpus(corpus, store_dir=tmp_path_factory.mktemp("drawn")).read()
    files = sorted({video.path for video in listing.videos})
    events = {path: [] for path in files}
    for video in listing.videos:
        if video.end_seconds is not None:
            events[video.path].append((video.start_seconds, video.end_seconds))
    return events


@pytest.fixture
def folder(films, tmp_path):
    (tmp_path / "videos").mkdir()
    for name, path in zip("ab", films, strict=True):
        shutil.copy(path, tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "videos" / "broken.mp4").write_text("no video at all")
    return tmp_path


def embedded(folder, store, *, windows=None, captions=None):
    """(plan, snapshot, config) of a run over the folder."""
    corpus = {"kind": "folder", "videos": str(folder / "videos"), "windows": windows}
    if captions is not None:
        (folder / "captions.csv").write_text("video_id,path,start,end,caption\n" + captions)
        corpus["captions"] = str(folder / "captions.csv")
    config = film_config(folder / store, corpus=corpus)
    run_ingest(config)
    run_extract(config)
    train.train(Session(config))
    return *run_embed(config), config


def test_a_window_is_the_clip_of_its_times(folder):
    """The same vectors, to the bit, as where each window is listed and decoded as a clip."""
    _, snapshot, _ = embedded(folder, "cut", windows={"seconds": 4, "stride": 2})
    cut = read_table(snapshot, WINDOWS)
    rows = cut.select(FACTS).to_pylist()
    assert {row["video_id"] for row in rows} == {"a", "b"}
    assert {row["end_seconds"] - row["start_seconds"] for row in rows} == {4.0}
    lines = [
        f"w{n},{row['video_id']}.mp4,{row['start_seconds']},{row['end_seconds']},"
        for n, row in enumerate(rows)
    ]
    _, listed, _ = embedded(folder, "listed", captions="\n".join(lines))
    twin = read_table(listed, "videos", columns=["video_id", "clip_key", "embedding"]).to_pylist()
    vectors = {row["video_id"]: (row["clip_key"], row["embedding"]) for row in twin}
    for n, vector in enumerate(cut.column("embedding").to_pylist()):
        assert vectors[f"w{n}"] == (rows[n]["window_id"], vector)


def test_every_file_is_accounted_for_and_only_what_changed_is_cut_again(folder):
    windows = {"by": "shots", "seconds": 60}
    plan, snapshot, config = embedded(folder, "store", windows=windows)
    counts = snapshot.counts(WINDOWS)
    assert plan.cut == 3 and counts.reconciled and counts.quarantined == 1
    assert counts.ok == snapshot.rows_of(WINDOWS) > 6
    failed = [row for row in snapshot.outcomes(WINDOWS) if row.status == "quarantined"]
    assert [(row.key, bool(row.reason)) for row in failed] == [("@broken", True)]

    plan, again = run_embed(config)
    assert (plan.cut, plan.stale_windows, again.number) == (0, [], snapshot.number)

    (folder / "videos" / "a.mp4").unlink()
    shutil.copy(folder / "videos" / "b.mp4", folder / "videos" / "broken.mp4")
    run_ingest(config)
    run_extract(config)
    plan, after = run_embed(config)
    rows = read_table(after, WINDOWS, columns=FACTS).to_pylist()
    assert {row["video_id"] for row in rows} == {"b"}, "a copy is the same file"
    of_a = [
        r.key for r in snapshot.outcomes(WINDOWS) if r.key not in {x["window_id"] for x in rows}
    ]
    assert plan.cut == 0 and sorted(plan.stale_windows) == sorted(of_a)


def test_pieces_and_windows_share_one_file(folder, films):
    (events, *_) = films.values()
    lines = [f"e{n},a.mp4,{start},{end},an event" for n, (start, end) in enumerate(events)]
    _, snapshot, config = embedded(
        folder, "pieces", windows={"by": "shots", "seconds": 60}, captions="\n".join(lines)
    )
    rows = read_table(snapshot, WINDOWS, columns=FACTS).to_pylist()
    mine = {(r["start_seconds"], r["end_seconds"]) for r in rows if r["video_id"] == "e0"}
    assert set(events) <= mine
    assert {row["video_id"] for row in rows} == {"e0", "b"}, "a file is called as its first piece"
    session = Session(config)
    keys = set(session.latest(session.frames).live("frames"))
    whole = {key for key in keys if "@" not in key}
    assert len(whole) == 2 and len(keys) == 2 + len(events)


def file_row(video_id, **fields):
    given = {"clip_key": "ab", "split": "test", "end_seconds": 9.0, "is_piece": False}
    return FileRow(video_id, **given | {"status": "ok"} | fields)


def test_rows_of_one_file_are_one_file():
    whole, piece = file_row("z"), file_row("a", is_piece=True)
    assert whole.also(piece) == piece.also(whole) == whole
    assert whole.also(file_row("b", split="train")).split == ""
    assert whole.also(file_row("a", status="quarantined")).video_id == "z"
    assert whole.signature != file_row("z", split="train").signature
