import threading
import time

import numpy as np
import pytest
import torch

from reelvec.models.sampling.rules import pick_stored
from reelvec.models.sampling.seen import SeenFrames
from reelvec.tasks.training.data import ClipLoader
from tests.tasks.training.builders import FRAMES, SIZE, clip_frames

KEYS = [f"{i:032x}" for i in range(9)]


class Source:
    """Frames by key, slowly if asked; fails at the key "bad"."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.told = []

    def ahead(self, keys):
        self.told.append(keys)

    def lengths(self, keys):
        return np.array([len(clip_frames(key).frames) for key in keys])

    def gather(self, keys, *, picks, out):
        time.sleep(self.seconds)
        for row, (key, pick) in enumerate(zip(keys, picks, strict=True)):
            if int(key, 16) == 8:
                raise OSError("shard gone")
            out[row] = 0
            out[row, : len(pick)] = clip_frames(key).frames[pick]


def loader(**options):
    return ClipLoader(Source(**options), max_frames=FRAMES, image_size=SIZE)


def seen(**options):
    return SeenFrames(max_frames=FRAMES, **options)


@pytest.mark.parametrize("selection", ["head", "tail", "linspace"])
def test_batches_equal_a_naive_stack(selection):
    wanted = [KEYS[:3], KEYS[3:5], [KEYS[0], KEYS[0], KEYS[7]]]
    batches = loader().batches(wanted, seen=seen(selection=selection))
    for keys, batch in zip(wanted, batches, strict=True):
        for row, key in enumerate(keys):
            frames = clip_frames(key).frames
            frames = frames[pick_stored(len(frames), FRAMES, selection)]
            assert batch.mask[row].tolist() == [1] * len(frames) + [0] * (FRAMES - len(frames))
            assert np.array_equal(batch.frames[row, : len(frames)].numpy(), frames)
            assert not batch.frames[row, len(frames) :].any()


def test_reading_runs_ahead_and_waiting_is_counted():
    slow = loader(seconds=0.05)
    for _ in slow.batches([KEYS[:2]] * 4, seen=seen()):
        time.sleep(0.1)
    assert 0.04 < slow.waited_seconds < 0.1  # only the first batch is waited for


def test_the_source_is_told_what_comes_next():
    source = Source()
    batches = [KEYS[:2], KEYS[2:4], KEYS[4:5]]
    list(ClipLoader(source, max_frames=FRAMES, image_size=SIZE).batches(batches, seen=seen()))
    assert source.told == [KEYS[:5], KEYS[2:5], KEYS[4:5]]


def test_an_error_arrives_where_the_batch_is_asked_for():
    batches = loader().batches([KEYS[:2], KEYS[8:], KEYS[:2]], seen=seen())
    next(batches)
    with pytest.raises(OSError, match="shard gone"):
        next(batches)


def test_stopping_early_leaves_no_thread():
    batches = loader().batches([KEYS[:2]] * 50, seen=seen())
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name == "reelvec-prefetch"]


def test_two_buffers_serve_a_whole_epoch():
    reused = loader()
    addresses = {
        b.frames.data_ptr() for _ in range(2) for b in reused.batches([KEYS[:4]] * 6, seen=seen())
    }
    assert len(addresses) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_on_a_gpu_are_those_on_the_host():
    """Copied by the thread, in order, while the last batch is still worked on."""
    wanted = [KEYS[n : n + 3] for n in range(6)] * 4
    there = ClipLoader(Source(), max_frames=FRAMES, image_size=SIZE, device=torch.device("cuda", 0))
    work = torch.randn(2000, 2000, device="cuda")
    pairs = zip(
        there.batches(wanted, seen=seen()), loader().batches(wanted, seen=seen()), strict=True
    )
    sums = []
    for found, expected in pairs:
        for _ in range(20):
            work = work @ work / work.norm()
        sums.append((found.frames.sum() + work.sum() * 0, expected.frames.sum()))
        assert found.mask.tolist() == expected.mask.tolist()
    assert all(int(a) == int(b) for a, b in sums)
