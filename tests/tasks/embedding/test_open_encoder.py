"""Which model a process keeps: that of the weights, not that of a name."""

import shutil

import pytest
from torch import nn

from reelvec.configs import PipelineConfig
from reelvec.models.registry import build
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.embedding import encoder
from reelvec.tasks.embedding.encoder import EncoderRef, open_encoder
from reelvec.tasks.training import train
from reelvec.tasks.training.finding import trained
from tests.support.engine_free import run_extract, run_ingest
from tests.support.media import KINDS, encode, painted
from tests.tasks.embedding.test_equal_bits import SIZES


def trained_on(captions, *, store, videos):
    """The reference and the weights after training on these captions, in a store at that place."""
    rows = [f"clip{number},{text},train" for number, text in enumerate(captions)]
    listed = store.parent / "captions.csv"
    listed.write_text("\n".join(["video_id,caption,split", *rows]))
    config = PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": {"kind": "folder", "videos": str(videos), "captions": str(listed)},
            "extract": {"size": 64, "sampling": {"policy": "uniform", "count": 2}},
            "model": {"max_words": 12, "max_frames": 2},
            "train": {"epochs": 2, "batch_size": 2, "device": "cpu"},
        }
    )
    run_ingest(config)
    run_extract(config)
    train.train(Session(config))
    model = trained(Session(config))
    return EncoderRef.to(model, config=config), model.weights_hash


def test_a_store_made_anew_is_not_taken_for_the_one_before(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(2):
        encode(
            videos / f"clip{number}.mp4", KINDS["h264_mp4"].arguments, frames=painted(10 + number)
        )
    store = tmp_path / "store"
    first, weights = trained_on(["a red square", "a dog"], store=store, videos=videos)
    kept = open_encoder(first)
    assert open_encoder(first) is kept
    shutil.rmtree(store)
    again, others = trained_on(["a cat", "two blue circles"], store=store, videos=videos)
    assert (again.checkpoint, others == weights) == (first.checkpoint, False)
    assert open_encoder(again) is not kept


@pytest.mark.parametrize(("precision", "compiles"), [("bf16", True), ("fp32", False)])
def test_a_model_is_opened_as_the_run_asks(monkeypatch, precision, compiles):
    document = {
        "model": {"family": "frozen", "options": {}, "max_words": 13, "max_frames": 2},
        "embed": {"device": "cpu", "precision": precision, "compile": compiles},
        "train": {"epochs": 0},
    }
    config = PipelineConfig.model_validate(document)
    model = build("frozen", options={}, architecture=SIZES, max_words=13, max_frames=2)
    loaded, compiled = [], []
    monkeypatch.setattr(
        encoder, "load_trained", lambda ref, *, model: loaded.append((ref, model)) or weights
    )
    monkeypatch.setattr(nn.Module, "compile", lambda part, **_: compiled.append(part))
    weights, place = model.train(), SnapshotRef("store", "checkpoint", "a" * 32, 1)
    found = open_encoder(EncoderRef.of(config, checkpoint=place, weights=precision))
    assert loaded == [(place, config.model)]
    assert (found.precision, found.device.type) == (precision, "cpu")
    assert not found.model.training
    towers = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    wanted = [block for blocks in towers for block in blocks] if compiles else []
    assert list(map(id, compiled)) == list(map(id, wanted)) and bool(wanted) == compiles
