"""What PE-AV hears, against transformers' own model (random weights, drawn wide)."""

import numpy as np
import pytest
import torch

from reelvec.models.errors import InputError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.kinds import adopted, build_frozen
from reelvec.models.frozen.packed_files import unpacked
from reelvec.models.frozen.perception_audio import PerceptionAudio, hearing_tensors, whole_hops
from reelvec.models.frozen.perception_files import audio_rate
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.0", reason="PE-AV is newer")

FRAMES, HOP = 5, 8


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pe-av")
    twin = native_models.pe_video(folder, frames=FRAMES, hears=True)
    state = read_pretrained(f"hf:{folder}")
    hears = PerceptionAudio(hearing_tensors(state), files=unpacked(state["files"])).eval()
    hears.load_state_dict(hearing_tensors(state), strict=True)
    sees = build_frozen(state, options=FrozenOptions(), max_frames=FRAMES).eval()
    sees.load_state_dict(dict(adopted(state)), strict=True)
    return state, hears, sees, twin


def sound(count, *, seed=0):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("count", [131, 136, 24], ids=["padded", "whole", "shorter than pictures"])
def test_vectors_are_those_of_transformers(saved, count):
    _, hears, sees, twin = saved
    samples = sound(count)
    reflected = np.pad(samples.numpy(), (0, -count % HOP), "reflect")
    values = torch.from_numpy(reflected)[None, None]
    pixels = torch.randn(FRAMES, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    encoder = sees.encoder["video_encoder"]
    found = hears.encode(samples, video=encoder(encoder.embed(pixels)[None]))
    wanted = twin.get_audio_embeds(values)
    torch.testing.assert_close(found.audio, unit(wanted), rtol=0, atol=1e-6)
    wanted = twin.get_audio_video_embeds(values, pixels[None]).audio_video_embeds
    torch.testing.assert_close(found.audio_video, unit(wanted), rtol=0, atol=1e-6)
    still = encoder(encoder.embed(pixels.flip(0))[None])
    again = hears.encode(samples.flip(0), video=still)
    assert (again.audio - found.audio).abs().max() > 1e-3, "the order of samples is heard"
    seen = hears.encode(samples, video=still).audio_video
    assert (seen - found.audio_video).abs().max() > 1e-4, "the pictures are seen"


@torch.no_grad()
def test_each_column_has_texts_of_its_own(saved):
    _, hears, _, twin = saved
    states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(2))
    found = hears.texts(states)
    wanted = unit(twin.audio_model.text_audio_head(states[:, 0]))
    torch.testing.assert_close(found.audio, wanted, rtol=0, atol=1e-6)
    wanted = unit(twin.text_audio_video_head(states[:, 0]))
    torch.testing.assert_close(found.audio_video, wanted, rtol=0, atol=1e-6)


def test_sound_is_mirrored_to_whole_hops():
    assert whole_hops(torch.arange(5.0), hop=4).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert whole_hops(torch.arange(4.0), hop=4).tolist() == [0, 1, 2, 3]
    assert whole_hops(torch.ones(1), hop=3).tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="has no vector of it"):
        whole_hops(torch.zeros(0), hop=4)


def test_what_does_not_fit_is_refused(saved):
    state, hears, _, _ = saved
    with pytest.raises(InputError, match="the model has positions for 2 s"):
        hears.encode(torch.zeros(80_000), video=torch.zeros(1, 2, 40))
    tensors = hearing_tensors(state)
    key = "encoder.audio_video_encoder.embedder.concat_modality_proj.weight"
    tensors[key] = tensors[key][:, :76]
    with pytest.raises(WeightsError, match="takes 76 numbers; there are twice 40"):
        PerceptionAudio(tensors, files=unpacked(state["files"]))
    assert audio_rate({}) == 48_000
    assert audio_rate({"preprocessor_config.json": b'{"sampling_rate": 16000}'}) == 16_000
    inner = b'{"feature_extractor": {"sampling_rate": 16000}}'
    assert audio_rate({"processor_config.json": inner}) == 16_000
