"""What options say of a model's rows seeing each other, against what the model does."""

from dataclasses import replace

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.models.registry import validate_options
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.starting import build_sized
from reelvec.tasks.training.step import PairBatch, StepOptions, contrastive_backward
from tests.tasks.training.builders import FRAMES, MAX_WORDS, SIZE, SMALL

POLICY = {"policy": "raw", "top_k": 2, "rescale_size": 4, "hidden_dim": 64}
SHIFT = {"shift_layers": [0], "n_div": 2, "num_samples": 50}
CASES = {
    "clip4clip mean": ("clip4clip", {}),
    "clip4clip seqTransf": ("clip4clip", {"sim_header": "seqTransf"}),
    "clip4clip tightTransf": ("clip4clip", {"sim_header": "tightTransf"}),
    "clip2video": ("clip2video", {}),
    "clip2video legacy": ("clip2video", {"mask_layout": "legacy"}),
    "xclip": ("xclip", {"sim_header": "seqTransf"}),
    "xclip tightTransf": ("xclip", {"sim_header": "tightTransf"}),
    "xpool": ("xpool", {}),
    "drl": ("drl", {"cdcr": 0}),
    "drl legacy": ("drl", {"pair_mask": "legacy"}),
    "ts2net legacy": ("ts2net", SHIFT | {"mask_layout": "legacy"}),
    "ucofia": ("ucofia", SHIFT),
    "adaclip": ("adaclip", {"frame_agg": "transformer"}),
    "adaclip policy": ("adaclip", POLICY),
    "adaclip mobilenet": ("adaclip", POLICY | {"policy": "mobilenet_v3_large"}),
    "adaclip still": ("adaclip", POLICY | {"policy": "mobilenet_v3_large", "freeze_cnn": True}),
    "adaclip legacy": ("adaclip", {"word_agg": "transformer", "mask_layout": "legacy"}),
}
ROWS = 5


HEADS = replace(SMALL, head_dim=16)
"""With one head the legacy masks are the plain ones."""


def model_and_rows(case):
    family, options = CASES[case]
    config = ModelConfig(family=family, options=options, max_words=MAX_WORDS, max_frames=FRAMES)
    torch.manual_seed(3)
    model = build_sized(config, sizes=HEADS)
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 49000, (ROWS, MAX_WORDS), generator=draw)
    tokens[torch.arange(ROWS), torch.arange(ROWS) + 4] = 49407
    shape = (ROWS, FRAMES, SIZE, SIZE, 3)
    frames = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
    mask = (torch.arange(FRAMES) < torch.tensor([1, 3, 2, 3, 1])[:, None]).long()
    return model, tokens, ClipBatch(frames, mask)


def encoded(model, tokens, clips):
    given = model.prepare(clips.frames, clips.mask)
    given = {key: x.double() if x.is_floating_point() else x for key, x in given.items()}
    return [model.encode_text(tokens), model.encode_video(**given)]


@pytest.mark.parametrize("case", CASES)
def test_vectors_of_a_row_alone_and_among_others(case):
    model, tokens, clips = model_and_rows(case)
    model.double().eval()
    with torch.inference_mode():
        together = encoded(model, tokens, clips)
        differ = False
        for row in range(ROWS):
            one = slice(row, row + 1)
            alone = encoded(model, tokens[one], clips.rows(one))
            real = clips.mask[row].bool()  # what stands at padded frames means nothing
            for some, single in zip(together, alone, strict=True):
                for name, tensor in single.tensors.items():
                    pair = [tensor[0], some[name][row]]
                    if name == "frames" and tensor.shape[1] == len(real):
                        pair = [x[real] for x in pair]
                    differ |= not torch.allclose(*pair, rtol=1e-6, atol=1e-9)
    assert differ is validate_options(*CASES[case]).sees_batch(training=False)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_a_batch_whole_and_in_parts(case):
    found = []
    for parts in (1, 2):
        model, tokens, clips = model_and_rows(case)
        batch = PairBatch(tokens, clips, ROWS)
        options = StepOptions(parts=parts)
        contrastive_backward(model.train(), batch, group=Group(), step=3, options=options)
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    whole, cut = found
    differ = any(not torch.allclose(cut[n], whole[n], rtol=1e-3, atol=1e-5) for n in whole)
    assert differ is validate_options(*CASES[case]).sees_batch(training=True)
