"""EmbeddingGemma-2 from a folder, against transformers' own model (random weights, drawn wide)."""

import json

import numpy as np
import pytest
import torch

from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.embedding_gemma2 import EmbeddingGemma2
from reelvec.models.frozen.embedding_gemma2_files import frame_size
from reelvec.models.frozen.kinds import adopted, build_frozen, own_input_of
from reelvec.models.sampling.rules import Timeline, choose
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.19", reason="it is newer")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma")
    twin = native_models.embedding_gemma2(folder)
    state = read_pretrained(f"hf:{folder}")
    return state, built(state), twin


def built(state, **options):
    model = build_frozen(state, options=FrozenOptions(**options), max_frames=32).eval()
    model.load_state_dict(dict(adopted(state)), strict=True)
    return model


def clip_of(*, frames=3, height=60, width=100):
    levels = np.random.default_rng(1).integers(0, 256, (frames, height, width, 3), np.uint8)
    seconds = torch.arange(frames, dtype=torch.float64)
    return Clip(frames=torch.from_numpy(levels), seconds=seconds, size=(height, width))


@torch.no_grad()
def test_vectors_are_those_of_transformers(saved):
    """The naive twin: patch by patch, padded as the processor pads, the library's own forward."""
    state, model, twin = saved
    clip = clip_of()
    height, width = frame_size(60, 100, patches=630, side=48)
    assert (height, width) == (288, 480)  # 630 patches hold 311 x 518: multiples of 48 below
    pixels = torch.nn.functional.interpolate(
        clip.frames.permute(0, 3, 1, 2).contiguous(),
        size=(height, width),
        mode="bicubic",
        antialias=True,
    )
    values = pixels.float() / 255
    corners = [(y, x) for y in range(0, height, 16) for x in range(0, width, 16)]
    patches = [
        values[:, :, y : y + 16, x : x + 16].permute(0, 2, 3, 1).flatten(1) for y, x in corners
    ]
    shown = torch.zeros(3, 630, 768)
    shown[:, : len(corners)] = torch.stack(patches, dim=1)
    places = torch.full((3, 630, 2), -1)
    places[:, : len(corners)] = torch.tensor([(x // 16, y // 16) for y, x in corners])
    block = "<|image>" + "<|video|>" * (len(corners) // 9) + "<image|>"
    ids = torch.tensor([model._tokenizer("title: none | text: " + block * 3)["input_ids"]])
    states = twin(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=shown,
        video_position_ids=places,
        num_frames_per_video=torch.tensor([3]),
    ).last_hidden_state
    wanted = torch.nn.functional.normalize(states.mean(dim=1), dim=-1)
    found = model.encode_clip(clip)["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    reverse = Clip(frames=clip.frames.flip(0), seconds=clip.seconds, size=clip.size)
    assert (model.encode_clip(reverse)["embedding"] - found).abs().max() > 1e-4, "order is seen"
    cut = torch.nn.functional.normalize(wanted[:, :8], dim=-1)
    short = built(state, dimensions=8).encode_clip(clip)["embedding"]
    torch.testing.assert_close(short, cut, rtol=0, atol=2e-6)

    texts = ["a man runs", "a rather longer caption of a man", ""]
    ids = torch.tensor([model._tokenizer("task: search result | query: a man runs")["input_ids"]])
    states = twin(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    text = model.encode_text(model.tokenize(texts))["embedding"]
    wanted = torch.nn.functional.normalize(states.mean(dim=1), dim=-1)
    torch.testing.assert_close(text[:1], wanted, rtol=0, atol=1e-6)
    alone = model.encode_text(model.tokenize(texts[2:]))["embedding"]
    torch.testing.assert_close(alone, text[2:], rtol=0, atol=1e-6)


def test_the_size_is_that_of_the_processor():
    """Numbers of specs/clip-native-encoders.md 6: a budget of 140 tokens a frame."""
    assert frame_size(480, 640, patches=1260, side=48) == (480, 624)
    assert frame_size(432, 768, patches=1260, side=48) == (384, 720)
    assert frame_size(10, 4000, patches=1260, side=48) == (48, 6720)


def test_frames_are_chosen_as_the_processor_does(saved):
    rule = own_input_of(saved[0]["files"]).rule
    timeline = Timeline(pts_seconds=np.arange(89) / 30, fps=30.0)
    assert choose(rule, timeline=timeline).tolist() == [0, 30]
    timeline = Timeline(pts_seconds=np.arange(1000) / 12.5, fps=12.5)
    seconds = [min(999, int(i * 12.5)) for i in range(80)]
    wanted = [seconds[j] for j in np.linspace(0, 79, 32, dtype=int)]
    assert choose(rule, timeline=timeline).tolist() == wanted


def test_the_processors_settings_are_read_and_others_refused(saved):
    def settings(**given):
        settings = json.dumps(given).encode()
        return {"config.json": b"{}", "video_preprocessor_config.json": settings}

    assert EmbeddingGemma2.own_input(settings(max_frames=56)).frame_count.frames == 56
    with pytest.raises(WeightsError, match="add_timestamps"):
        EmbeddingGemma2.own_input(settings(add_timestamps=True))
    with pytest.raises(OptionsError, match="wrapper: EmbeddingGemma-2 has no such option"):
        built(saved[0], wrapper="bare")
    with pytest.raises(OptionsError, match="at most 32 frames"):
        build_frozen(saved[0], options=FrozenOptions(), max_frames=33)
