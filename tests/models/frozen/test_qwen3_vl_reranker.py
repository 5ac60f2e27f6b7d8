"""Qwen3-VL-Reranker from a folder, against transformers' own model (random weights)."""

import pytest
import torch

from reelvec.models.errors import InputError, WeightsError
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.qwen3_vl_input import shown
from reelvec.models.frozen.qwen3_vl_reranker import build_reranker
from reelvec.storage.weights.pretrained import read_pretrained
from tests.models.frozen.test_qwen3_vl import clip_of
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.0", reason="Qwen3-VL as in 5")


@pytest.fixture(scope="module", params=[False, True], ids=["head", "tied"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reranker")
    twin = native_models.qwen3_vl_reranker(folder, tied=request.param)
    return folder, build_reranker(read_pretrained(f"hf:{folder}")), twin


@torch.no_grad()
def naive(twin, tokenizer, text, clip):
    """The authors' script: the prompt written out, the two logits of the last token."""
    seen = shown(clip)
    prompt = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query"
        ' and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n<Instruct>: Given a search query, retrieve relevant candidates that"
        f" answer the query.<Query>:{text}\n<Document>:{seen.blocks}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    twin.model.rope_deltas = None
    logits = twin(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=2 * (ids == twin.config.video_token_id).int(),
        pixel_values_videos=seen.patches,
        video_grid_thw=torch.tensor(
            [[seen.grid.pairs, seen.grid.height // 16, seen.grid.width // 16]]
        ),
    ).logits[0, -1]
    words = tokenizer.convert_tokens_to_ids(["no", "yes"])
    return float(logits[words].softmax(dim=0)[1])


@torch.no_grad()
def test_scores_are_those_of_transformers(saved):
    _, model, twin = saved
    seen = {}
    for text in ("a man runs", "two dogs"):
        for seed in (0, 1):
            clip = clip_of(seed)
            seen[text, seed] = model.score(text, clip)
            wanted = naive(twin, model._tokenizer, text, clip)
            assert seen[text, seed] == pytest.approx(wanted, abs=1e-6)
    assert len({round(score, 4) for score in seen.values()}) == 4, "text and clip are both read"
    clip = clip_of()
    reverse = Clip(frames=clip.frames.flip(0), seconds=clip.seconds, size=clip.size)
    assert abs(model.score("a man runs", reverse) - seen["a man runs", 0]) > 1e-4, "order is seen"


def test_what_is_no_reranker_is_refused(saved, tmp_path):
    folder, model, _ = saved
    state = read_pretrained(f"hf:{folder}")
    with pytest.raises(InputError, match="1 to 64"):
        model.score("a man runs", clip_of(frames=65, height=4, width=4))
    heads = ("lm_head.weight", "embed_tokens.weight")
    headless = {key: value for key, value in state.items() if not key.endswith(heads)}
    with pytest.raises(WeightsError, match="whose rows are its answers"):
        build_reranker(headless)
    short = {key: value for key, value in state.items() if "layers.2." not in key}
    with pytest.raises(WeightsError, match=r"(?s)are not its configuration's.*Missing"):
        build_reranker(short)
    native_models.qwen3_vl(tmp_path)
    with pytest.raises(WeightsError, match="it is the embedding model"):
        build_reranker(read_pretrained(f"hf:{tmp_path}"))
    (tmp_path / "modules.json").unlink()
    with pytest.raises(WeightsError, match="no word yes and no no"):
        build_reranker(read_pretrained(f"hf:{tmp_path}"))
