"""Texts of models that read thousands of tokens: near lengths share calls of so many tokens."""

import numpy as np
import pytest
import torch

from reelvec.configs.schema import EmbedConfig, ModelConfig
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.kinds import adopted, build_frozen
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.embedding import encoding
from reelvec.tasks.embedding.encoder import Encoder
from tests.support import native_models

pytest.importorskip("transformers", minversion="5.19", reason="EmbeddingGemma-2 is newer")

TEXTS = ["", *("a man runs " * n + "x" * m for n in range(4) for m in (1, 4, 9)), "y" * 300]
MOST = 512


@pytest.fixture(scope="module", params=["qwen3_vl", "embedding_gemma2"])
def encoder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    getattr(native_models, request.param)(folder)
    state = read_pretrained(f"hf:{folder}")
    model = build_frozen(state, options=FrozenOptions(), max_frames=2).eval()
    model.load_state_dict(dict(adopted(state)), strict=True)
    config = ModelConfig(family="frozen", options={}, max_frames=2)
    return Encoder(model, config, torch.device("cpu"))


def vectors(encoder, texts):
    column = encoding.encode_captions(encoder, texts, options=EmbedConfig())["embedding"]
    return column.flatten().to_numpy().reshape(len(texts), -1)


@torch.inference_mode()
def test_a_text_in_a_call_of_many_tokens_is_as_alone(encoder, monkeypatch):
    """The naive twin: every text by itself, without padding."""
    model, seen = encoder.model, []
    twin = []
    for text in TEXTS:
        ids = model.tokenize([text])
        twin.append(model._texts(ids, torch.ones_like(ids))[0].numpy())
    monkeypatch.setattr(encoding, "TOKENS_A_CALL", MOST)
    real = model._texts
    monkeypatch.setattr(model, "_texts", lambda x, m: seen.append(x.shape) or real(x, m))
    found = vectors(encoder, TEXTS)
    np.testing.assert_allclose(found, np.stack(twin), rtol=0, atol=1e-6)
    assert all(length % 8 == 0 and rows * length <= MOST for rows, length in seen)
    lengths = {len(model.tokenize([text])[0]) for text in TEXTS}
    assert len(seen) < len(lengths), "near lengths share a call"
    assert {rows for rows, _ in seen} > {1, 8}
    order = np.random.default_rng(0).permutation(len(TEXTS)).tolist()
    assert np.array_equal(vectors(encoder, [TEXTS[i] for i in order]), found[order])
    assert np.array_equal(vectors(encoder, TEXTS[3:4]), found[3:4])
