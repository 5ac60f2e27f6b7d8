"""Qwen3-VL-Embedding from a folder, against transformers' own model (random weights)."""

import numpy as np
import pytest
import torch

from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.kinds import adopted, build_frozen, own_input_of
from reelvec.models.frozen.qwen3_vl_input import Grid, grid_of, patches_of
from reelvec.models.sampling.rules import Rule, Timeline, choose
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.0", reason="Qwen3-VL as in 5")

TOLD = "Represent the user's input."


def built(state, **options):
    model = build_frozen(state, options=FrozenOptions(**options), max_frames=64).eval()
    model.load_state_dict(dict(adopted(state)), strict=True)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen")
    twin = native_models.qwen3_vl(folder)
    state = read_pretrained(f"hf:{folder}")
    return state, built(state), twin


def clip_of(seed=0, *, frames=3, height=40, width=72):
    levels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)
    seconds = torch.arange(frames, dtype=torch.float64) * 1.04
    return Clip(frames=torch.from_numpy(levels), seconds=seconds, size=(height, width))


def ids_of(twin_tokenizer, content):
    prompt = (
        f"<|im_start|>system\n{TOLD}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    return torch.tensor([twin_tokenizer(prompt)["input_ids"]])


@torch.no_grad()
def test_vectors_are_those_of_transformers(saved):
    """The naive twin: ids, grid and patches written out one by one, the library's own forward."""
    _, model, twin = saved
    clip = clip_of()
    grid = grid_of(40, 72, frames=4)
    frames = torch.cat([clip.frames, clip.frames[-1:]]).permute(0, 3, 1, 2).float()
    frames = torch.nn.functional.interpolate(
        frames, size=(grid.height, grid.width), mode="bicubic", antialias=True
    )
    values = (frames.clamp(0, 255).round() - 127.5) / 127.5
    down, across = grid.height // 32, grid.width // 32
    patches = [
        values[2 * t : 2 * t + 2, :, y : y + 16, x : x + 16].permute(1, 0, 2, 3).reshape(-1)
        for t in range(2)
        for row in range(down)
        for column in range(across)
        for y in (32 * row, 32 * row + 16)
        for x in (32 * column, 32 * column + 16)
    ]
    pads = "<|video_pad|>" * (down * across)
    blocks = "".join(f"<{t} seconds><|vision_start|>{pads}<|vision_end|>" for t in ("0.5", "2.1"))
    ids = ids_of(model._tokenizer, blocks)
    states = twin.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=2 * (ids == twin.config.video_token_id).int(),
        pixel_values_videos=torch.stack(patches),
        video_grid_thw=torch.tensor([[2, grid.height // 16, grid.width // 16]]),
    ).last_hidden_state
    wanted = torch.nn.functional.normalize(states[:, -1], dim=-1)
    found = model.encode_clip(clip)["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    reverse = Clip(frames=clip.frames.flip(0), seconds=clip.seconds, size=clip.size)
    assert (model.encode_clip(reverse)["embedding"] - found).abs().max() > 1e-3, "order is seen"

    states = twin.model(input_ids=ids_of(model._tokenizer, "a man runs")).last_hidden_state
    wanted = torch.nn.functional.normalize(states[:, -1], dim=-1)
    texts = ["a man runs", "a rather longer caption of a man", ""]
    text = model.encode_text(model.tokenize(texts))["embedding"]
    torch.testing.assert_close(text[:1], wanted, rtol=0, atol=1e-6)
    alone = model.encode_text(model.tokenize(texts[2:]))["embedding"]
    torch.testing.assert_close(alone, text[2:], rtol=0, atol=1e-6)


@torch.no_grad()
def test_options_change_vectors_and_cut_them(saved):
    state, model, _ = saved
    clip, whole = clip_of(), model.encode_clip(clip_of())["embedding"]
    short = built(state, dimensions=8)
    assert short.video_columns["embedding"].shape == (8,)
    cut = torch.nn.functional.normalize(whole[:, :8], dim=-1)
    torch.testing.assert_close(short.encode_clip(clip)["embedding"], cut)
    outer = built(state, wrapper="outer").encode_clip(clip)["embedding"]
    told = built(state, video_instruction="Say what moves")
    assert (outer - whole).abs().max() > 1e-4
    assert (told.encode_clip(clip)["embedding"] - whole).abs().max() > 1e-4
    with pytest.raises(OptionsError, match=r"dimensions \(33\) is more than the model's 32"):
        built(state, dimensions=33)


def test_the_grid_keeps_proportions_and_budget():
    """Numbers of qwen_vl_utils' smart_resize with the authors' budgets."""
    assert grid_of(480, 640, frames=4) == Grid(2, 480, 640)
    assert grid_of(240, 320, frames=4) == Grid(2, 320, 448)  # the least number of pixels
    assert grid_of(1080, 1920, frames=4) == Grid(2, 640, 1152)  # the most of a frame
    assert grid_of(480, 640, frames=64) == Grid(32, 416, 544)  # the most of a clip
    with pytest.raises(InputError, match="over 200 times"):
        grid_of(10, 2010, frames=2)


def test_patches_are_in_the_models_order():
    pixels = torch.arange(2 * 3 * 64 * 32, dtype=torch.float32).reshape(2, 3, 64, 32) % 251
    patches = patches_of(pixels)
    assert patches.shape == (8, 1536)
    second = (pixels[:, :, :16, 16:32].permute(1, 0, 2, 3).reshape(-1) - 127.5) / 127.5
    assert torch.equal(patches[1], second)


def test_frames_are_chosen_as_the_authors_do(saved):
    rule = own_input_of(saved[0]["files"]).rule
    assert rule == Rule(policy="qwen3_vl", rate=1.0, max_frames=64)
    counts = {89: (30, 4), 377: (12.5, 30), 3: (25, 2), 1: (25, 1), 9000: (25, 64), 150: (25, 6)}
    for frames, (fps, wanted) in counts.items():
        timeline = Timeline(pts_seconds=np.arange(frames) / fps, fps=float(fps))
        chosen = choose(rule, timeline=timeline).tolist()
        assert len(chosen) == wanted and chosen[0] == 0 and chosen[-1] in (0, frames - 1)
    timeline = Timeline(pts_seconds=np.arange(89) / 30, fps=30.0)
    assert choose(rule, timeline=timeline).tolist() == [0, 29, 59, 88]


def test_the_chat_model_is_refused_and_too_many_frames(saved, tmp_path):
    native_models.qwen3_vl(tmp_path, with_head=False)
    (tmp_path / "modules.json").unlink()
    with pytest.raises(WeightsError, match=r"without modules.json is the chat or the reranker"):
        own_input_of(read_pretrained(f"hf:{tmp_path}")["files"])
    with pytest.raises(OptionsError, match="at most 64 frames"):
        build_frozen(saved[0], options=FrozenOptions(), max_frames=65)
