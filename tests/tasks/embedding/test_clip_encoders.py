"""Encoders that see a clip as a clip: clips that share a call, bf16, another number of frames."""

import dataclasses

import numpy as np
import pytest
import torch

from reelvec.configs.schema import EmbedConfig, ModelConfig
from reelvec.models.errors import InputError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.kinds import adopted, build_frozen
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.frames.sound import ClipSound
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.embedding import clip_calls, encoding
from reelvec.tasks.embedding.encoder import Encoder
from tests.support import native_models
from tests.support.held_clips import HeldClips

pytest.importorskip("transformers", minversion="5.19", reason="EmbeddingGemma-2 is newer")

FRAMES = 4
HEARS = ("embedding_gemma2", "pe_video")
SHARE = {"naflex": 256, "qwen3_vl": 2048, "embedding_gemma2": 512}
"""The kinds whose clips share calls, and a budget of tokens for a few of the clips here."""
KINDS = ("naflex", "videoprism", "qwen3_vl", *HEARS)
OFF = {"embedding_gemma2": 0.2}
"""In bf16, of the largest number of a vector, here a mean over all tokens; 0.05 of the others."""


def held(shapes):
    """Clips of these shapes, whose time stamps are of two lengths."""
    made = np.random.default_rng(0)
    clips = {}
    for n, (count, height, width) in enumerate(shapes):
        levels = made.integers(0, 256, (count, height, width, 3), np.uint8)
        index = np.arange(count) * 25 * (1 + 30 * (n % 2))
        source = Source(height, width, 10_000, 25.0)
        clips[f"c{n}"] = ClipFrames(f"c{n}", levels, index / 25, index, source)
    return HeldClips(clips)


class Sounds(dict):
    """Of some clips."""

    def sound(self, key):
        return ClipSound(key, self[key], 0.0)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Of each kind, made when it is asked for."""
    made = {}

    def of(kind, *, hears=False):
        if (kind, hears) not in made:
            folder = tmp_path_factory.mktemp(kind)
            given = {"hears": True} if hears else {}
            if kind in ("pe_video", "videoprism"):
                given["frames"] = FRAMES
            getattr(native_models, kind)(folder, **given)
            state = read_pretrained(f"hf:{folder}")
            options = FrozenOptions(hears=hears)
            model = build_frozen(state, options=options, max_frames=FRAMES).eval()
            model.load_state_dict(dict(adopted(state, hears=hears)), strict=True)
            config = ModelConfig(family="frozen", options={}, max_frames=FRAMES)
            made[kind, hears] = Encoder(model, config, torch.device("cpu"))
        return made[kind, hears]

    return of


def columns_of(encoder, source, keys, **given):
    found = encoding.encode_videos(encoder, source, keys, options=EmbedConfig(), **given)
    used = found.pop("frames_used").to_pylist()
    return {n: np.array(x.to_pylist(), np.float64) for n, x in found.items()}, used


SHAPES = [(4, 40, 64), (4, 48, 48), (4, 40, 64), (2, 40, 64), (4, 40, 64), (4, 48, 48), (2, 40, 64)]


@pytest.mark.parametrize("kind", SHARE)
def test_clips_of_one_shape_share_a_call_and_are_as_alone(kind, encoders, monkeypatch):
    """The naive twin: one clip a call, which is what a CPU does."""
    encoder, source = encoders(kind), held(SHAPES)
    keys = list(source.clips)
    alone, used = columns_of(encoder, source, keys)
    assert used == [count for count, _, _ in SHAPES]
    calls, real = [], encoder.model.encode_clips
    monkeypatch.setattr(clip_calls, "shares", lambda device: device.type == "cpu")
    monkeypatch.setattr(clip_calls, "CLIP_TOKENS_A_CALL", SHARE[kind])
    monkeypatch.setattr(encoder.model, "encode_clips", lambda x: calls.append(x) or real(x))
    together, _ = columns_of(encoder, source, keys)
    np.testing.assert_allclose(together["embedding"], alone["embedding"], rtol=0, atol=2e-6)
    assert np.abs(alone["embedding"][0] - alone["embedding"][2:]).max() > 1e-4
    assert len(calls) < len(keys) and max(map(len, calls)) > 1
    for clips in calls:
        assert len({(len(clip.frames), clip.size) for clip in clips}) == 1
        tokens = encoder.model.clip_tokens(len(clips[0].frames), size=clips[0].size)
        assert len(clips) == 1 or tokens * len(clips) <= SHARE[kind]
    order = [3, 0, 6, 2, 5, 1, 4]
    moved, _ = columns_of(encoder, source, [keys[i] for i in order])
    wanted = together["embedding"][order]
    np.testing.assert_allclose(moved["embedding"], wanted, rtol=0, atol=2e-6)


def test_the_length_of_a_call_follows_from_the_shape_of_its_clips(encoders, monkeypatch):
    """Of Qwen, whose time stamps differ in length: else a row's bits would depend on the others."""
    encoder, source, lengths = encoders("qwen3_vl"), held(SHAPES), []
    model, clips = encoder.model, []
    for key in ("c0", "c2", "c4"):
        whole = source.clips[key]
        seconds = torch.from_numpy(whole.frame_index / 25 + 900 * (key == "c4"))
        clips.append(Clip(frames=torch.from_numpy(whole.frames), seconds=seconds, size=(40, 64)))
    real = model.encoder.forward

    def forward(input_ids, **given):
        lengths.append(input_ids.shape[1])
        return real(input_ids=input_ids, **given)

    monkeypatch.setattr(model.encoder, "forward", forward)
    with torch.no_grad():
        both = [model.encode_clips(pair)["embedding"] for pair in (clips[:2], clips[1:])]
    assert len(set(lengths)) == 1
    torch.testing.assert_close(both[0][1], both[1][0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_is_near_fp32(kind, encoders):
    exact = encoders(kind, hears=kind in HEARS)
    half = dataclasses.replace(exact, precision="bf16")
    source = held([(4, 40, 64), (4, 40, 64)])
    sounds = None
    if kind in HEARS:
        draw = np.random.default_rng(2).uniform(-1, 1, (2, 8_000)).astype(np.float32)
        sounds = Sounds(c0=draw[0], c1=draw[1])
    wanted, _ = columns_of(exact, source, ["c0", "c1"], sounds=sounds)
    found, _ = columns_of(half, source, ["c0", "c1"], sounds=sounds)
    texts = ["a man runs", "", "a rather longer caption of a man"]
    for encoder, into in ((exact, wanted), (half, found)):
        text = encoding.encode_captions(encoder, texts, options=EmbedConfig())
        into |= {f"text {n}": np.array(x.to_pylist(), np.float64) for n, x in text.items()}
    assert len(wanted) == (6 if kind in HEARS else 2)
    for name, x in wanted.items():
        off = np.abs(x - found[name]).max() / np.abs(x).max()
        cosine = (x * found[name]).sum(axis=1).min()
        print(f"{kind} {name}: least cosine {cosine:.5f}, off {off:.4f}")
        assert 0 < off < OFF.get(kind, 0.05), name
        assert np.allclose(np.linalg.norm(found[name], axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_float16_table_is_the_float32_one_rounded(kind, encoders):
    """No number of a unit vector is larger than 1, so half of a last bit is 2**-12 at most."""
    encoder, source = encoders(kind), held([(4, 40, 64), (4, 40, 64)])
    made = []
    for dtype in ("float32", "float16"):
        options = EmbedConfig(dtype=dtype)
        videos = encoding.encode_videos(encoder, source, ["c0", "c1"], options=options)
        texts = encoding.encode_captions(encoder, ["a man", "no man"], options=options)
        made.append({"videos": videos["embedding"], "texts": texts["embedding"]})
    for name, exact in made[0].items():
        wide, half = (np.array(x.to_pylist(), np.float64) for x in (exact, made[1][name]))
        assert str(made[1][name].type.value_type) == "halffloat"
        assert 0 < np.abs(wide - half).max() <= 2**-12


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_frames_are_refused(kind, encoders):
    model = encoders(kind).model
    levels = torch.zeros(65, 40, 64, 3, dtype=torch.uint8)
    seconds = torch.arange(65, dtype=torch.float64)
    clip = Clip(frames=levels, seconds=seconds, size=(40, 64))
    with pytest.raises(InputError, match="a clip of 65 frames: this model takes"):
        model.encode_clip(clip)
