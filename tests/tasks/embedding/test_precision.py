"""Encoding in bf16 and with compiled blocks: near fp32, unit vectors, a row's bits its own."""

import dataclasses

import numpy as np
import pytest
import torch

from reelvec.configs.schema import EmbedConfig
from reelvec.tasks.embedding.encoder import compile_blocks
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos
from reelvec.tasks.scoring.logits import scoring_of
from tests.tasks.embedding.test_equal_bits import CLIPS, SHIFT, TEXTS, encoder_of

VARIANTS = [
    ("clip4clip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 1}),
    ("xpool", {}),
    ("drl", {"cross_num_hidden_layers": 1}),
    ("ts2net", SHIFT),
    ("adaclip", {"policy": "none", "frame_agg": "mlp"}),
    ("frozen", {}),
]
OFF = 0.02
"""Of the largest number of a column, or of the largest score; of float's 8 bits 0.004 are left."""


def columns(encoder, texts=TEXTS, keys=tuple(CLIPS.of)):
    text = encode_captions(encoder, texts, options=EmbedConfig())
    video = encode_videos(encoder, CLIPS, list(keys), options=EmbedConfig())
    video.pop("frames_used")

    def tensors(given):
        return {name: torch.tensor(np.array(x.to_pylist())) for name, x in given.items()}

    return tensors(text), tensors(video)


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_bf16_is_near_fp32_and_a_row_depends_on_itself_alone(family, options):
    exact = encoder_of(family, options)
    half = dataclasses.replace(exact, precision="bf16")
    wanted, found = columns(exact), columns(half)
    scores = scoring_of(exact.model)
    for side in (0, 1):
        for name, x in wanted[side].items():
            off = float((x - found[side][name]).abs().max() / x.abs().max())
            if name in ("mask", "counts", "frames_used"):
                assert off == 0
            else:
                assert 0 < off < (0.1 if name in ("grams", "vectors") else OFF), name
    if exact.model.is_dot_product:
        for side in found:
            length = side["embedding"].norm(dim=1)
            torch.testing.assert_close(length, torch.ones_like(length), rtol=0, atol=1e-6)
    logits = [scores.similarity(_typed(a, scores), _typed(b, scores)) for a, b in (wanted, found)]
    assert (logits[0] - logits[1]).abs().max() < OFF * logits[0].abs().max()
    text, video = columns(half, TEXTS[9:10], ("c3",))
    for side, alone, row in ((found[0], text, 9), (found[1], video, 3)):
        assert all(torch.equal(side[name][row], x[0]) for name, x in alone.items())


def _typed(columns_, scores):
    given = {**scores.text_columns, **scores.video_columns}
    return {
        name: x.reshape(len(x), *given[name].shape).to(
            torch.int64 if given[name].kind == "integer" else torch.float32
        )
        for name, x in columns_.items()
        if name in given
    }


def test_blocks_are_compiled_and_give_the_same_vectors(monkeypatch):
    encoder = encoder_of("clip4clip", {})
    wanted = columns(encoder, TEXTS[:3], ("c1",))
    calls = []

    def backend(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    real = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module: real(module, backend=backend)
    )  # the C++ compiler takes half a minute
    names = list(encoder.model.state_dict())
    compile_blocks(encoder.model)
    found = columns(encoder, TEXTS[:3], ("c1",))
    assert calls and list(encoder.model.state_dict()) == names
    for a, b in zip(wanted, found, strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)
