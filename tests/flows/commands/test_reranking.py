"""search --rerank: the best are read again, and stand as if all pairs had been scored."""

import json
from contextlib import closing
from dataclasses import replace

import pytest
import torch

import reelvec
from reelvec.storage.frames.contract import ClipFrames
from reelvec.tasks.decoding.files import ClipJob, decode_clips
from reelvec.tasks.embedding.clip_calls import clip_of
from reelvec.tasks.scoring.logits import one_thread
from reelvec.tasks.searching.reranking import open_reranker, rerank
from tests.support import native_models
from tests.support.command_line import typed

pytest.importorskip("transformers", minversion="5.0", reason="Qwen3-VL as in 5")
TEXT = "a red circle"


@pytest.fixture(scope="module", autouse=True)
def threads():
    """One: embedding here would leave one behind, and a score's last bit depends on how many."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reranker")
    native_models.qwen3_vl_reranker(folder)
    return folder


@pytest.fixture
def words(monkeypatch, capsys, real_store):
    def call(*words):
        return typed(monkeypatch, capsys, *words, "--store", real_store.store)

    return call


@torch.inference_mode()
def alone(reranker, job):
    """The naive twin: one pair, whose file is decoded by itself."""
    with closing(decode_clips([job], options=reranker.options)) as results:
        result = next(results)
    names = ("clip_key", "frames", "pts_seconds", "frame_index", "source")
    stored = ClipFrames(**{name: getattr(result, name) for name in names})
    return reranker.model.score(TEXT, clip_of(stored, device=torch.device("cpu")))


@pytest.fixture(scope="module")
def opened(weights, real_store):
    run = reelvec.open(real_store.store).run()
    return open_reranker(f"hf:{weights}", options=run.config.extract, device="cpu")


@pytest.fixture(scope="module")
def pairs(opened, real_store):
    """The score of every pair."""
    run = reelvec.open(real_store.store).run()
    found = run.search(TEXT, top=20)
    jobs = {row.video_id: ClipJob(clip_key="one", path=row.path) for row in found}
    return {name: alone(opened, job) for name, job in jobs.items()}


def test_the_order_is_that_of_all_pairs(words, weights, pairs):
    code, out, err = words("search", TEXT, "--rerank", weights, "--json")
    found = json.loads(out)
    best = sorted(pairs, key=lambda name: -pairs[name])
    assert (code, found["unit"]) == (0, "P(yes)"), err
    assert [row["video_id"] for row in found["results"]] == best
    assert [row["score"] for row in found["results"]] == [pairs[name] for name in best]
    assert f"The best 8 by cosine were read again by hf:{weights}." in found["notes"]

    _, out, _ = words("search", TEXT, "--top", "3", "--json")
    short = {row["video_id"] for row in json.loads(out)["results"]}
    _, out, _ = words(
        "search", TEXT, "--rerank", weights, "--candidates", "3", "--top", "2", "--json"
    )
    again = [row["video_id"] for row in json.loads(out)["results"]]
    assert again == [name for name in best if name in short][:2]


def test_what_cannot_be_read_again_is_named(opened, real_store):
    run = reelvec.open(real_store.store).run()
    with run.searches() as searches:
        found = searches.text(TEXT, top=3)
        videos = {row.video_id: searches.searcher.videos.find(row.video_id) for row in found.rows}
    first, second, third = videos
    videos[first] = None
    videos[second] = replace(videos[second], path="/nowhere/clip.mp4")
    answers = rerank(found, TEXT, reranker=opened, find=videos.get, windows=False, top=3)
    assert [row.video_id for row in answers.rows] == [third]
    (said,) = [note for note in answers.notes if "left out" in note]
    assert f"2 of the best could not be read again, and are left out: {first} (gone" in said
    assert f"{second} (missing);" in said


def test_of_a_window_only_its_part_is_read(opened, film_store):
    run = reelvec.open(film_store.store).run()
    with run.searches() as searches:
        found = searches.text(TEXT, top=2)
        find = searches.searcher.videos.find
    answers = rerank(found, TEXT, reranker=opened, find=find, windows=True, top=2)
    for row in answers.rows:
        span = {"start_seconds": row.start_seconds, "end_seconds": row.end_seconds}
        part = ClipJob(clip_key="one", path=row.path, **span)
        assert row.score == alone(opened, part) != alone(opened, replace(part, start_seconds=None))


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--rerank", "nowhere"], 1, "no folder (nowhere) of a reranker"),
        (["--candidates", "3"], 2, "--candidates is given without --rerank"),
        (["--rerank", "WEIGHTS", "--candidates", "3"], 1, "top (10) is more than the candidates"),
    ],
)
def test_wrong_words(words, weights, given, code, said):
    given = [str(weights) if word == "WEIGHTS" else word for word in given]
    found, _, err = words("search", TEXT, *given)
    assert found == code and said in err, err


def test_a_query_without_words_is_not_reranked(words, weights):
    code, _, err = words("search", "--like", "clip1", "--rerank", weights)
    assert code == 2 and "--rerank is given with --like" in err
