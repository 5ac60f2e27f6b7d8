"""The half all CLIP families share: input checks, preparation, and starting from CLIP."""

import numpy as np
import pytest
import torch

from reelvec.models.clip.preprocess import CLIP_MEAN, CLIP_STD
from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.family import RetrievalModel
from tests.models.contracts_family import SIZES, captions, clips, make


def test_inputs_of_another_shape_are_refused():
    model = make("clip4clip")
    with pytest.raises(InputError, match=r"\[T, 9\]"):
        model.encode_text(captions(2)[:, :8])
    with pytest.raises(InputError, match=r"\[V, F, 3, 8, 8\]"):
        model.encode_video(torch.zeros(1, 4, 3, 16, 16).double(), torch.ones(1, 4))
    with pytest.raises(InputError, match="extract frames with size 8"):
        model.prepare(torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8), torch.ones(1, 4))


def test_prepare_is_the_originals_transform():
    """ToTensor, Normalize, then zero padding: written out pixel by pixel in float64."""
    pixels, mask = clips(3)
    found = make("clip4clip").prepare(pixels, mask)["frames"]
    assert found.shape == (3, 4, 3, 8, 8) and found.dtype == torch.float32
    for v, f in np.ndindex(3, 4):
        for channel in range(3):
            value = pixels[v, f, :, :, channel].double() / 255
            wanted = (value - CLIP_MEAN[channel]) / CLIP_STD[channel] * mask[v, f]
            torch.testing.assert_close(found[v, f, channel].double(), wanted, rtol=0, atol=1e-6)
    assert pixels.dtype == torch.uint8


def test_captions_longer_than_the_position_table_are_refused():
    with pytest.raises(OptionsError, match="77 positions"):
        make("clip4clip", words=78)


def test_a_sentence_is_the_state_at_the_end_token():
    model, ids = make("clip4clip"), captions(5)
    sentence, words = model.encode_words(ids)
    for row, end in enumerate(ids.tolist()):
        assert torch.equal(sentence[row], words[row, end.index(95)])


def test_tokenize_uses_the_models_length():
    assert make("clip4clip").tokenize(["a man", ""]).shape == (2, 9)


def test_activation_checkpointing_changes_memory_not_numbers():
    gradients = []
    for on in (False, True):
        model = make("clip4clip", {"sim_header": "seqTransf"}).train()
        model.set_activation_checkpointing(on)
        blocks = [m for m in model.modules() if hasattr(m, "activation_checkpointing")]
        assert len(blocks) == 3 and all(m.activation_checkpointing is on for m in blocks)
        pixels, mask = clips(3)
        frames = model.prepare(pixels, mask)["frames"].double()
        model.similarity(
            model.encode_text(captions(3)), model.encode_video(frames, mask)
        ).sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for plain, saved in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, saved)


def test_archives_must_fit():
    model = make("frozen")
    state = {k.removeprefix("clip."): v for k, v in model.state_dict().items()}
    state.pop("visual.proj")
    with pytest.raises(WeightsError, match=r"missing visual\.proj \(32, 32\)"):
        model.init_from_clip(state)


def test_the_base_promises_nothing():
    assert RetrievalModel.recognise({}) is None
    with pytest.raises(TypeError, match="abstract"):
        RetrievalModel(image_size=8, max_words=8, max_frames=2)


def test_halves_are_widened_after_the_towers_and_bf16_autocast_runs():
    from reelvec.models.conversion.weights import to_legacy_fp16

    exact = make("clip4clip", {"sim_header": "seqTransf"})
    pixels, mask = clips(4)
    frames = exact.prepare(pixels, mask)["frames"]
    wanted = exact.encode_video(frames.double(), mask)["embedding"]
    single = make("clip4clip", {"sim_header": "seqTransf"}).float()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        text = single.encode_text(captions(4))["embedding"]
        video = single.encode_video(frames, mask)["embedding"]
    assert text.dtype == torch.float32
    torch.testing.assert_close(video.double(), wanted, rtol=0, atol=0.05)
    to_legacy_fp16(single)
    with torch.no_grad():
        half = single.encode_video(frames, mask)["embedding"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), wanted, rtol=0, atol=0.02)
    assert SIZES.head_dim == 16
