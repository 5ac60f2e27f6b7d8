"""What EmbeddingGemma-2 hears, against transformers' own processor and model (random weights)."""

import dataclasses
import json
import types

import numpy as np
import pytest
import torch

from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.embedding_gemma2_audio import Ear, hearing_of
from reelvec.models.frozen.kinds import adopted, build_frozen
from reelvec.models.frozen.packed_files import unpacked
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.19", reason="it is newer")

RATE = 16_000
FPS = 29.97
MARKS = "<|audio|> <|video|>"
"""A caption of marks that stand for sound and frames: it is of neither."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma")
    twin = native_models.embedding_gemma2(folder, hears=True)
    state = read_pretrained(f"hf:{folder}")
    return state, built(state, hears=True), twin


def built(state, **options):
    model = build_frozen(state, options=FrozenOptions(**options), max_frames=32).eval()
    taken = adopted(state, hears=options.get("hears", False))
    model.load_state_dict(dict(taken), strict=True)
    return model


def sound(seconds, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(int(seconds * RATE), generator=generator) * 2 - 1


def clip_of(samples, *, length=4.2, frames=3, start=0.0):
    """Frames a second apart, at indices as the processor chooses them."""
    levels = np.random.default_rng(1).integers(0, 256, (frames, 60, 100, 3), np.uint8)
    index = torch.tensor([int(i * FPS) for i in range(frames)], dtype=torch.float64)
    seconds = start + index / FPS
    shown = {"frames": torch.from_numpy(levels), "seconds": seconds, "size": (60, 100)}
    return Clip(**shown, start=start, length=length, sound=samples)


def processor():
    """transformers' own, without the parts that need torchvision."""
    made = object.__new__(transformers.EmbeddingGemma2Processor)
    made.feature_extractor = transformers.Gemma4AudioFeatureExtractor(feature_size=16)
    made.boi_token, made.eoi_token = "<|image>", "<image|>"
    made.boa_token, made.eoa_token, made.audio_token = "<|audio>", "<audio|>", "<|audio|>"
    made.video_token = "<|video|>"
    return made


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def wanted_of(model, twin, clip):
    """The naive twin: the library's processor, prompts and forward: (audio, audio_video)."""
    own = processor()
    heard = own.feature_extractor([clip.sound.numpy()], return_tensors="pt")
    given = {key: heard[key] for key in ("input_features", "input_features_mask")}
    height, width, tokens = 288, 480, 60
    pixels = torch.nn.functional.interpolate(
        clip.frames.permute(0, 3, 1, 2).contiguous(),
        size=(height, width),
        mode="bicubic",
        antialias=True,
    )
    corners = [(y, x) for y in range(0, height, 16) for x in range(0, width, 16)]
    values = pixels.float() / 255
    patches = [
        values[:, :, y : y + 16, x : x + 16].permute(0, 2, 3, 1).flatten(1) for y, x in corners
    ]
    places = torch.tensor([(x // 16, y // 16) for y, x in corners])
    shown = {
        "pixel_values_videos": torch.stack(patches, dim=1),
        "video_position_ids": places.expand(len(values), -1, -1),
        "num_frames_per_video": torch.tensor([len(values)]),
    }
    metadata = types.SimpleNamespace(
        timestamps=(clip.seconds - clip.start).tolist(), duration=clip.length
    )
    inputs = {"num_soft_tokens_per_video": [tokens], "video_metadata": [metadata]}
    alone = own.replace_audio_token({"input_features_mask": heard["input_features_mask"]}, 0)
    both = own.replace_video_with_audio_token(
        inputs, 0, {"input_features_mask": heard["input_features_mask"].numpy()}, [0]
    )
    found = []
    for content, extra in ((alone, {}), (both, shown)):
        ids = torch.tensor([model._tokenizer("title: none | text: " + content)["input_ids"]])
        mask = torch.ones_like(ids)
        states = twin(input_ids=ids, attention_mask=mask, **given, **extra).last_hidden_state
        found.append(unit(states.mean(dim=1)))
    return found


@torch.no_grad()
@pytest.mark.parametrize(
    ("seconds", "length", "frames"),
    [
        (2.9, 3.2, 3),  # sound that ends before the pictures
        (5.03, 3.2, 3),  # and after them: the last second takes the rest
        (0.4, 4.2, 2),  # a second without a frame, and none of sound
        (31.0, 33.4, 2),  # cut to 30 seconds
        (1.5, 0.7, 1),
    ],
)
def test_vectors_are_those_of_transformers(saved, seconds, length, frames):
    _, model, twin = saved
    clip = clip_of(sound(seconds), length=length, frames=frames)
    audio, audio_video = wanted_of(model, twin, clip)
    found = model.encode_clip(clip)
    torch.testing.assert_close(found["audio"], audio, rtol=0, atol=1e-6)
    torch.testing.assert_close(found["audio_video"], audio_video, rtol=0, atol=1e-6)
    if seconds > 30:
        cut = model.encode_clip(dataclasses.replace(clip, sound=clip.sound[: 30 * RATE]))
        assert torch.equal(cut["audio"], found["audio"])
        return
    again = model.encode_clip(dataclasses.replace(clip, sound=clip.sound.flip(0)))
    assert (again["audio"] - found["audio"]).abs().max() > 1e-4, "the order of samples is heard"
    other = model.encode_clip(dataclasses.replace(clip, frames=255 - clip.frames))
    assert (other["audio_video"] - found["audio_video"]).abs().max() > 1e-4, "pictures are seen"
    assert torch.equal(other["audio"], found["audio"])


@torch.no_grad()
def test_pictures_and_texts_are_as_without_ears(saved):
    """Also of a film without sound, which has no vector of any; a silent track has one."""
    state, model, twin = saved
    deaf = built(state)
    assert not any("audio" in name for name in deaf.state_dict())
    clip = clip_of(None)
    found, wanted = model.encode_clip(clip), deaf.encode_clip(clip)
    assert torch.equal(found["embedding"], wanted["embedding"])
    assert set(wanted) == {"embedding"}
    assert all(found[name].isnan().all() for name in ("audio", "audio_video"))
    silent = model.encode_clip(dataclasses.replace(clip, sound=torch.zeros(RATE)))
    assert all(x.isfinite().all() for x in silent.tensors.values())
    assert torch.equal(silent["embedding"], wanted["embedding"])
    texts = model.encode_text(model.tokenize(["a tone", "", MARKS]))
    plain = deaf.encode_text(deaf.tokenize(["a tone", ""]))["embedding"]
    for name in ("embedding", "audio", "audio_video"):
        torch.testing.assert_close(texts[name][:2], plain, rtol=0, atol=1e-6)
    ids = torch.tensor([model._tokenizer(f"task: search result | query: {MARKS}")["input_ids"]])
    states = twin(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(texts["audio"][2:], unit(states.mean(dim=1)), rtol=0, atol=1e-6)
    assert set(model.text_columns) == set(model.video_columns) == set(texts)


@torch.no_grad()
def test_times_count_from_the_beginning_of_a_window_and_no_sound_is_too_short(saved):
    _, model, twin = saved
    samples = sound(2.0)
    whole, later = clip_of(samples, length=2.5), clip_of(samples, length=2.5, start=61.0)
    found, wanted = model.encode_clip(later), model.encode_clip(whole)
    assert torch.equal(found["audio_video"], wanted["audio_video"])
    for count in (1, 128, 160):
        short = model.encode_clip(clip_of(samples[:count]))
        assert short["audio"].isfinite().all()
    audio, _ = wanted_of(model, twin, clip_of(samples[:161]))
    least = model.encode_clip(clip_of(samples[:161]))["audio"]
    torch.testing.assert_close(least, audio, rtol=0, atol=1e-6)


def test_what_it_hears_is_said_by_its_files_and_the_rest_refused(saved, tmp_path):
    state, _, _ = saved
    files = unpacked(state["files"])
    assert vars(hearing_of(files)) == {"rate": RATE, "seconds": 30.0}
    assert Ear(files).tokens_a_second == 25

    def settings(**given):
        document = {"feature_extractor": {"sampling_rate": RATE, **given}}
        return {**files, "processor_config.json": json.dumps(document).encode()}

    assert hearing_of(settings(sampling_rate=24_000)).seconds == 20.0
    with pytest.raises(WeightsError, match="dither"):
        hearing_of(settings(dither=1e-5))
    with pytest.raises(WeightsError, match="sampling_rate"):
        hearing_of(settings(sampling_rate=10))
    native_models.embedding_gemma2(tmp_path)
    with pytest.raises(OptionsError, match="hear nothing"):
        built(read_pretrained(f"hf:{tmp_path}"), hears=True)
