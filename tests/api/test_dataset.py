"""Frames and captions for a loop of one's own: the same samples in any number of workers."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import reelvec
from reelvec.errors import RequestError
from reelvec.models.sampling.rules import pick_stored
from reelvec.storage.frames.reader import FrameReader
from reelvec.tasks.artifacts import SnapshotRef


@pytest.fixture(scope="module")
def run(real_store):
    return reelvec.open(real_store.store).run()


def same(one, other):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


def naive(run, *, split, slots, how="linspace"):
    """What the samples should be, from tables and whole clips."""
    videos = {row["video_id"]: row for row in run.table("corpus_videos").arrow().to_pylist()}
    failed = {row.video_id for row in run.failures()}
    for caption in run.table("corpus_captions").arrow().to_pylist():
        video = videos[caption["video_id"]]
        if video["video_id"] not in failed and video["split"] in (split, ""):
            clip = run.frames(video["video_id"])
            picks = pick_stored(len(clip.frames), slots, how=how)
            frames = np.zeros((slots, *clip.frames.shape[1:]), np.uint8)
            frames[: len(picks)] = clip.frames[picks]
            seconds = np.zeros(slots)
            seconds[: len(picks)] = clip.pts_seconds[picks]
            mask = np.zeros(slots, np.int64)
            mask[: len(picks)] = 1
            yield reelvec.Sample(
                video["video_id"],
                caption["caption_id"],
                caption["text"],
                *map(torch.from_numpy, (frames, mask, seconds)),
            )


@pytest.mark.parametrize(
    ("split", "slots", "how"), [("train", 3, "linspace"), ("test", 2, "head"), ("test", 6, "tail")]
)
def test_samples_are_those_of_tables_and_frames(run, split, slots, how):
    samples = list(run.dataset(split=split, max_frames=slots, frame_selection=how))
    expected = list(naive(run, split=split, slots=slots, how=how))
    assert len(samples) == len(expected) == 8
    assert all(map(same, samples, expected))


def test_by_default_it_shows_what_the_model_sees(run):
    samples = run.dataset()
    assert len(samples) == 16
    assert samples[0].frames.shape == (run.config.model.max_frames, 64, 64, 3)
    assert same(samples[-1], samples[15])


def test_an_item_a_video_needs_no_caption(run):
    samples = run.dataset(each="video")
    assert [sample.video_id for sample in samples] == [f"clip{n}" for n in range(8)]
    assert {(sample.caption_id, sample.text) for sample in samples} == {("", "")}


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(real_store, how):
    """In a process of its own: this one may have threads of other tests, which no fork survives."""
    code = "import sys; from tests.api.test_dataset import compare; compare(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(real_store.store), how],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def compare(store, how):
    samples = reelvec.open(store).run().dataset()
    alone = list(DataLoader(samples, batch_size=3))  # also opens shards that a fork inherits
    loader = DataLoader(samples, batch_size=3, num_workers=2, multiprocessing_context=how)
    together = list(loader)
    assert len(alone) == len(together) == 6
    assert all(map(same, together, alone))
    assert (type(together[0]).__name__, len(together[0].text)) == ("Sample", 3)


def test_what_is_sent_to_a_worker_is_small_and_opens_nothing(run, monkeypatch):
    samples = run.dataset(split="train")
    _ = samples[0]
    monkeypatch.setattr(FrameReader, "__init__", None)  # would raise if called
    monkeypatch.setattr(SnapshotRef, "open", None)
    sent = pickle.dumps(samples)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    monkeypatch.undo()
    assert len(again) == len(samples)
    assert same(again[3], samples[3])


def test_a_shard_is_opened_by_the_sample_that_needs_it(run, monkeypatch):
    from reelvec.storage.frames import reader

    opened = []
    real = reader.open_reader
    monkeypatch.setattr(reader, "open_reader", lambda path: opened.append(path) or real(path))
    samples = run.dataset(each="video")
    assert opened == []
    _ = samples[0], samples[1]
    assert len(opened) == 1
    list(samples)
    assert len(opened) == len(set(opened)) == 3


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"split": "trian"}, r"split \(trian\); there are the splits test, train"),
        ({"each": "frame"}, r"each \(frame\) must be caption or video"),
        ({"max_frames": 0}, r"max_frames \(0\) must be at least 1"),
        ({"frame_selection": "middle"}, r"\(middle\) must be one of head, tail, linspace"),
    ],
)
def test_what_it_cannot_be_is_refused(run, keywords, words):
    with pytest.raises(RequestError, match=words):
        run.dataset(**keywords)


def test_it_ends_where_its_samples_end(run):
    with pytest.raises(IndexError, match=r"sample \(16\) of 16"):
        run.dataset()[16]
