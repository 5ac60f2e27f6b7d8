"""PE-Video and PE-AV from a folder, against transformers' own model (random, drawn wide)."""

import importlib.metadata
import json

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import Macs, costs_of
from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.kinds import adopted, build_frozen, own_input_of
from reelvec.models.frozen.packed_files import unpacked
from reelvec.models.frozen.perception_files import pe_video_input, text_config, trunk_of
from reelvec.models.frozen.perception_temporal import temporal_sizes
from reelvec.models.sampling.rules import Rule, Timeline, choose
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.0", reason="PE-AV is newer")

FRAMES, SIDE = 5, 28
ANY = {"video_preprocessor_config.json": b'{"size": {"height": 28, "width": 28}}'}


@pytest.fixture(scope="module", params=[False, True], ids=["pe_video", "pe_audio_video"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pe")
    whole = native_models.pe_video(folder, frames=FRAMES, hears=request.param)
    state = read_pretrained(f"hf:{folder}")
    model = build_frozen(state, options=FrozenOptions(), max_frames=FRAMES).eval()
    model.load_state_dict(dict(adopted(state)), strict=True)
    return state, model, whole.video_model if request.param else whole


def clip_of(*, frames=FRAMES, height=50, width=70):
    levels = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)
    seconds = torch.arange(frames, dtype=torch.float64)
    return Clip(frames=torch.from_numpy(levels), seconds=seconds, size=(height, width))


def values_of(clip):
    """Pixels by the documented arithmetic: uint8 antialiased bilinear squash, mean and std 0.5."""
    shown = torch.nn.functional.interpolate(
        clip.frames.permute(0, 3, 1, 2).contiguous(),
        size=(SIDE, SIDE),
        mode="bilinear",
        antialias=True,
    )
    return (shown.float() - 127.5) / 127.5


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


@torch.no_grad()
def test_vectors_are_those_of_transformers(saved):
    _, model, twin = saved
    clip = clip_of()
    states = twin.video_encoder(pixel_values_videos=values_of(clip)[None]).pooler_output
    found = model.encode_clip(clip)["embedding"]
    torch.testing.assert_close(found, unit(twin.video_head(states)), rtol=0, atol=1e-6)
    reverse = Clip(frames=clip.frames.flip(0), seconds=clip.seconds, size=clip.size)
    assert (model.encode_clip(reverse)["embedding"] - found).abs().max() > 1e-2, "order is seen"

    kept = {}
    twin.text_model.layers[-1].register_forward_hook(lambda *a: kept.update(last=a[2]))
    texts = ["a man runs after a dog", "two", ""]
    own = model._tokenizer(texts, padding=True, return_tensors="pt")
    given = {name: own[name] for name in ("input_ids", "attention_mask")}
    after = twin.text_model(**given).last_hidden_state
    wanted = unit(twin.text_video_head(kept["last"][:, 0]))
    found = model.encode_text(model.tokenize(texts))["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert (unit(twin.text_video_head(after[:, 0])) - found).abs().max() > 1e-3, "before the norm"
    for place in (1, 2):  # each alone, and so without padding; the last one is empty
        alone = model.encode_text(model.tokenize([texts[place]]))["embedding"]
        torch.testing.assert_close(alone[0], found[place], rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_padded_batch_is_its_clips_alone(saved):
    """Norms and attention leave padding out; without the mask the vector moves, silently."""
    _, model, twin = saved
    encoder = model.encoder["video_encoder"]
    frames = torch.randn(2, 8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 8, [1] * 3 + [0] * 5])
    tokens = torch.stack([encoder.embed(clip) for clip in frames])
    found = encoder(tokens, mask)[:, 0]
    wanted = twin.video_encoder(pixel_values_videos=frames, padding_mask_videos=mask.bool())
    torch.testing.assert_close(found, wanted.pooler_output, rtol=0, atol=2e-6)
    alone = encoder(tokens[1:, :3])[:, 0]
    torch.testing.assert_close(found[1:], alone, rtol=0, atol=2e-6)
    assert (encoder(tokens[1:])[:, 0] - alone).abs().max() > 1e-2


@torch.no_grad()
def test_in_bf16_it_is_nearly_the_same(saved):
    state, model, _ = saved
    half = build_frozen(state, options=FrozenOptions(), max_frames=FRAMES).eval()
    half.load_state_dict(model.state_dict())
    half.encoder.bfloat16()
    for of in (
        lambda one: one.encode_clip(clip_of())["embedding"],
        lambda one: one.encode_text(one.tokenize(["a man runs"]))["embedding"],
    ):
        assert of(half).dtype == torch.float32
        assert (of(half) * of(model)).sum() > 0.998


def test_another_number_of_frames_is_refused(saved):
    state, model, _ = saved
    with pytest.raises(InputError, match="6 frames: this model takes exactly 5"):
        model.encode_clip(clip_of(frames=6))
    with pytest.raises(OptionsError, match=r"max_frames \(12\).*exactly 5.*max_frames=5"):
        build_frozen(state, options=FrozenOptions(), max_frames=12)
    with pytest.raises(OptionsError, match="dimensions: PE-AV has no such option"):
        build_frozen(state, options=FrozenOptions(dimensions=8), max_frames=FRAMES)


def test_frames_are_chosen_as_the_processor_does(saved):
    own = own_input_of(saved[0]["files"])
    assert own.form == FrameForm(size=SIDE, fit="squash", interpolation="bilinear")
    for count in (1, 3, 5, 9, 100):
        timeline = Timeline(pts_seconds=np.arange(count) / 25, fps=25.0)
        wanted = [int(i * (count - 1) / (FRAMES - 1)) for i in range(FRAMES)]
        assert choose(own.rule, timeline=timeline).tolist() == wanted
        assert saved[1].frame_count.picks(count).tolist() == wanted


def test_a_checkpoint_may_take_any_number_of_frames(saved):
    """Where its file names none: as MTEB does, two a second and 64 at most, or as it is asked."""
    files = unpacked(saved[0]["files"]) | ANY
    own = pe_video_input(files)
    assert own.rule == Rule(policy="per_second", rate=2.0, max_frames=64)
    assert (own.frame_count.frames, own.frame_count.exact) == (64, False)
    own.frame_count.check_asked(300)
    own.frame_count.check(300)
    with pytest.raises(OptionsError, match="at most 9999 frames"):
        own.frame_count.check_asked(10_000)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_frames": 0}, r"num_frames as \(0\)"),
        ({"image_mean": [0.48, 0.5, 0.5]}, "image_mean"),
        ({"image_std": {"r": 0.5}}, "image_std"),
        ({"resample": 1}, r"resample \(1\) must be 2 or 3"),
        ({"resample": [2]}, r"resample \(\[2\]\) must be 2 or 3"),
        ({"size": {"shortest_edge": 336}}, "must be a height and the same width"),
    ],
)
def test_settings_that_are_not_built_are_refused(saved, settings, said):
    files = unpacked(saved[0]["files"])
    files["video_preprocessor_config.json"] = json.dumps(settings).encode()
    with pytest.raises(WeightsError, match=said):
        pe_video_input(files)


def test_towers_that_are_not_built_are_refused(saved):
    state = dict(adopted(saved[0]))

    def files_with(**vision):
        return {"config.json": json.dumps({"video_config": {"vision_config": vision}}).encode()}

    with pytest.raises(WeightsError, match=r"architecture \(resnet50\) is not supported"):
        trunk_of(files_with(architecture="resnet50"), state)
    with pytest.raises(WeightsError, match=r"model_args\.use_rot_pos_emb is not built"):
        trunk_of(files_with(model_args={"use_rot_pos_emb": True}), state)
    config = {"rope_parameters": {"rope_type": "yarn"}}
    with pytest.raises(WeightsError, match=r"rope_type \(yarn\)"):
        temporal_sizes(state, prefix="encoder.video_encoder.", config=config)
    with pytest.raises(WeightsError, match=r"text tower \(bert\) must be modernbert"):
        text_config({"config.json": b'{"text_config": {"model_type": "bert"}}'})


def test_a_tokenizer_without_a_class_token_is_named(saved):
    _, model, _ = saved
    kept = model._tokenizer
    model._tokenizer = native_models.byte_tokenizer()
    with pytest.raises(WeightsError, match="no token for an empty text"):
        model.tokenize(["a", ""])
    model._tokenizer = kept


def test_an_old_transformers_is_named(saved, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.57.3")
    with pytest.raises(OptionsError, match=r"needs transformers >= 5.0, found 4.57.3"):
        build_frozen(saved[0], options=FrozenOptions(), max_frames=FRAMES)


def test_it_counts_what_it_costs(saved):
    _, model, _ = saved
    found = []
    full = torch.ones(1, model.max_words, dtype=torch.int64)
    for work in (lambda: model.encode_text(full), lambda: model.encode_clip(clip_of())):
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
            work()
        found.append(counter.get_total_flops() // 2)
    assert costs_of(model).macs == Macs(*found)
