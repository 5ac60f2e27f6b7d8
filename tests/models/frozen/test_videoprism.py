"""VideoPrism-LvT from a folder, against transformers' own model (random weights, drawn wide)."""

import json

import numpy as np
import pytest
import torch

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import Macs, costs_of
from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.kinds import adopted, build_frozen, own_input_of
from reelvec.models.frozen.videoprism import as_written
from reelvec.models.sampling.rules import Timeline, choose
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.13", reason="VideoPrism is newer")

FRAMES = 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videoprism")
    twin = native_models.videoprism(folder, frames=FRAMES)
    state = read_pretrained(f"hf:{folder}")
    model = build_frozen(state, options=FrozenOptions(), max_frames=FRAMES).eval()
    model.load_state_dict(dict(adopted(state)), strict=True)
    return state, model, twin


def clip_of(seed=0, *, frames=FRAMES, height=50, width=70):
    levels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)
    seconds = torch.arange(frames, dtype=torch.float64)
    return Clip(frames=torch.from_numpy(levels), seconds=seconds, size=(height, width))


@torch.no_grad()
def test_vectors_are_those_of_transformers(saved):
    """Pixels by the documented arithmetic: uint8 antialiased bicubic squash, times 1/255."""
    _, model, twin = saved
    clip = clip_of()
    shown = torch.nn.functional.interpolate(
        clip.frames.permute(0, 3, 1, 2).contiguous(), size=(36, 36), mode="bicubic", antialias=True
    )
    pixels = (shown.float() * (1 / 255))[None]
    wanted = twin.get_video_features(pixel_values_videos=pixels).pooler_output[:, 0]
    found = model.encode_clip(clip)["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    reverse = Clip(frames=clip.frames.flip(0), seconds=clip.seconds, size=clip.size)
    assert (model.encode_clip(reverse)["embedding"] - found).abs().max() > 1e-3, "order is seen"

    texts = ["A man, running!", "two"]
    own = model._tokenizer(
        ["a man running.", "two."], padding="max_length", max_length=24, return_tensors="pt"
    )
    given = {name: own[name] for name in ("input_ids", "attention_mask")}
    wanted = twin.get_text_features(**given).pooler_output.flatten(1)
    found = model.encode_text(model.tokenize(texts))["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    alone = model.encode_text(model.tokenize(texts[1:]))["embedding"]
    torch.testing.assert_close(alone, found[1:], rtol=0, atol=1e-6)
    (length,) = torch.linalg.vector_norm(
        model.encode_text(model.tokenize([""]))["embedding"], dim=1
    )
    torch.testing.assert_close(length, torch.tensor(1.0))


def test_a_caption_is_written_as_the_authors_write_it():
    assert as_written("  A man's dog, RUNNING! ") == "a man s dog running."
    assert as_written("") == "."


def test_a_caption_cannot_write_padding(saved):
    _, model, _ = saved
    tokens = model.tokenize(["<pad><pad>", "a"])
    assert (tokens[0] >= 0).sum() > 2


def test_another_number_of_frames_is_refused(saved):
    state, model, _ = saved
    with pytest.raises(InputError, match="5 frames: this model takes exactly 4"):
        model.encode_clip(clip_of(frames=5))
    with pytest.raises(OptionsError, match=r"max_frames \(12\).*exactly 4.*max_frames=4"):
        build_frozen(state, options=FrozenOptions(), max_frames=12)
    with pytest.raises(OptionsError, match=r"dimensions: VideoPrism has no such option"):
        build_frozen(state, options=FrozenOptions(dimensions=8), max_frames=FRAMES)
    with pytest.raises(InputError, match="encode_clip, not encode_video"):
        model.encode_video(torch.zeros(1), torch.zeros(1))


def test_frames_are_chosen_as_the_authors_do(saved):
    own = own_input_of(saved[0]["files"])
    assert own.form == FrameForm(size=36, fit="squash")
    for count in (3, 4, 9, 100):
        timeline = Timeline(pts_seconds=np.arange(count) / 25, fps=25.0)
        wanted = [i * count // FRAMES for i in range(FRAMES)]
        assert choose(own.rule, timeline=timeline).tolist() == wanted
        assert saved[1].frame_count.picks(count).tolist() == wanted


def test_an_old_transformers_is_named(saved, monkeypatch):
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.12.1")
    with pytest.raises(
        OptionsError, match=r"'videoprism' needs transformers >= 5.13, found 5.12.1"
    ):
        build_frozen(saved[0], options=FrozenOptions(), max_frames=FRAMES)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("videoprism_vision_model", "without its text tower"),
        ("clip_vision_model", "the image tower of a CLIP alone"),
        ("bert", "'bert' is not supported"),
    ],
)
def test_half_a_model_is_named(kind, said):
    data = json.dumps({"model_type": kind}).encode()
    packed = b'{"config.json": %d}\n' % len(data) + data
    with pytest.raises(WeightsError, match=said):
        own_input_of(torch.frombuffer(bytearray(packed), dtype=torch.uint8))


def test_it_counts_what_it_costs(saved):
    """The spatial, temporal and auxiliary blocks, against torch's counter of products."""
    from torch.utils.flop_counter import FlopCounterMode

    _, model, _ = saved
    found = []
    full = torch.ones(1, 24, dtype=torch.int64)
    for work in (lambda: model.encode_text(full), lambda: model.encode_clip(clip_of())):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            work()
        found.append(counter.get_total_flops() // 2)
    assert costs_of(model).macs == Macs(*found)
