"""Frames drawn anew each epoch: the same for any cut, resumed or not; validation sees its own."""

import numpy as np
import pytest
import torch

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.schema import EmbedConfig
from reelvec.models.sampling.rules import pick_stored
from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.frames.formats import SUFFIXES, open_reader, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.embedding.encoding import encode_videos
from reelvec.tasks.runs.preflight import check_config
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.data import ClipLoader, seen_in_training
from tests.tasks.training.builders import (
    FRAMES,
    SIZE,
    clip_frames,
    make_store,
    model_config,
    small_model,
)
from tests.tasks.training.test_loop import trainer_of

FEWER = FRAMES - 1


def drawing(config, **fields):
    fields = {"max_frames": FEWER, "train_frame_draw": "random"} | fields
    return config.model_copy(update={"model": config.model.model_copy(update=fields)})


def stored(key):
    return len(clip_frames(key).frames)


def watched(trainer, monkeypatch):
    """(clip, picks) of every frame that is read, in order."""
    seen, gather = [], trainer.loader._source.gather

    def spy(keys, *, picks, out):
        seen.extend((key, tuple(pick.tolist())) for key, pick in zip(keys, picks, strict=True))
        return gather(keys, picks=picks, out=out)

    monkeypatch.setattr(trainer.loader._source, "gather", spy)
    return seen


def test_each_epoch_sees_others_and_a_resumed_run_the_same(small, monkeypatch):
    config = drawing(small)
    whole = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
    seen = watched(whole, monkeypatch)
    whole.run()
    of_clip = {}
    for key, pick in seen:
        of_clip.setdefault(key, []).append(pick)
    trained = {item.clip_key for item in whole.items}
    assert any(len(set(of_clip[key])) > 1 for key in trained)
    for key in of_clip.keys() - trained:  # validation: the selected ones, each time
        assert set(of_clip[key]) == {tuple(pick_stored(stored(key), FEWER).tolist())}
    for key in trained:
        epochs = [seen_in_training(config.model, seed=42, epoch=epoch) for epoch in range(3)]
        wanted = [tuple(epoch.picks(stored(key), clip=key).tolist()) for epoch in epochs]
        assert of_clip[key] == wanted
    middle = checkpoints(whole.artifact.latest())[0]
    assert not middle.progress.finished
    again = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
    again.resume(middle)
    rest = watched(again, monkeypatch)
    again.run()
    assert rest == seen[len(seen) - len(rest) :]
    ours, theirs = (t.state.model.state_dict() for t in (again, whole))
    assert all(torch.equal(x, theirs[key]) for key, x in ours.items())


def test_any_cut_of_a_batch_sees_the_same(tmp_path):
    config = make_store(tmp_path, videos=8, captions=1)
    reader = FrameReader(Session(config).frames.latest())
    seen = SeenFrames(max_frames=FEWER, draw="random", order="random", seed=1, epoch=2)
    loader = ClipLoader(reader, max_frames=FEWER, image_size=SIZE)
    whole = next(loader.batches([reader.keys], seen=seen)).frames.clone()
    parts = [
        batch.frames.clone() for batch in loader.batches([[k] for k in reader.keys], seen=seen)
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("format", ["arrow", "hdf5"])
def test_vectors_see_frames_in_the_order_of_evaluation(tmp_path, format):
    """As if they had been stored so; and with it the vectors of a header that minds the order."""
    keys = [f"{i:032x}" for i in range(3)]
    path = tmp_path / f"shard{SUFFIXES[format]}"
    with open_writer(path, format=format, payload="raw", size=SIZE) as writer:
        for key in keys:
            writer.add(clip_frames(key))
    shard = open_reader(path)

    class Source:
        def __init__(self, turned):
            self.turned = turned

        def lengths(self, keys):
            return np.array([stored(key) for key in keys])

        def gather(self, keys, *, picks, out):
            out[:] = 0
            for row, (key, pick) in enumerate(zip(keys, picks, strict=True)):
                taken = np.empty((len(pick), SIZE, SIZE, 3), np.uint8)
                shard.read_into(shard.keys.index(key), pick[::-1] if self.turned else pick, taken)
                out[row, : len(pick)] = taken

    model = small_model("seqTransf").eval()
    found = {}
    for order, turned in (("reverse", False), ("ordinary", True), ("ordinary", False)):
        config = model_config("seqTransf").model_copy(update={"eval_frame_order": order})
        encoder = Encoder(model, config, torch.device("cpu"))
        columns = encode_videos(encoder, Source(turned), keys, options=EmbedConfig())
        found[order, turned] = np.stack(columns["embedding"].to_numpy(zero_copy_only=False))
    assert np.array_equal(found["reverse", False], found["ordinary", True])
    assert not np.array_equal(found["reverse", False], found["ordinary", False])


@pytest.mark.parametrize(
    ("sampling", "key"),
    [
        ({"policy": "uniform", "count": 12}, "extract.sampling.count"),
        ({"policy": "adaclip_uniform", "count": 16}, None),
        ({"policy": "per_second", "count": 1}, None),
        ({"policy": "per_second", "max_frames": 12}, "extract.sampling.max_frames"),
        ({"policy": "all"}, None),
    ],
)
def test_a_draw_needs_frames_to_draw_from(sampling, key):
    given = {"extract": {"size": 64, "sampling": sampling}, "train": {"device": "cpu"}}
    config = PipelineConfig.model_validate(given | {"model": {"train_frame_draw": "jitter"}})
    if key is None:
        check_config(config)
        return
    with pytest.raises(ConfigError, match=r"\(12\) keeps no more than model.max_frames") as caught:
        check_config(config)
    assert caught.value.key == key
    check_config(config.model_copy(update={"train": config.train.model_copy(update={"epochs": 0})}))
