"""Backbone and head apart: the same features as in one, whatever the family."""

import pytest
import torch

from reelvec.models.errors import OptionsError
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily, backbone_of, head_of
from tests.models.contracts_family import captions, clips, inputs_of, make

POLICY = {"top_k": 2, "hidden_dim": 32, "mlp_hidden_dim": 8, "rescale_size": 4}
TIGHT, SEQ = {"sim_header": "tightTransf"}, {"sim_header": "seqTransf"}
SHIFT = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1}
CASES = {
    "clip4clip meanP": ("clip4clip", {}),
    "clip4clip seqTransf 3d": ("clip4clip", SEQ | {"linear_patch": "3d"}),
    "clip4clip seqLSTM": ("clip4clip", {"sim_header": "seqLSTM"}),
    "clip4clip tightTransf": ("clip4clip", TIGHT),
    "teachclip": ("teachclip", {}),
    "clip2video": ("clip2video", {"centerK": 2}),
    "clip2video mlp": ("clip2video", {"temporal_proj": "sigmoid_mlp", "center_proj": "TAB"}),
    "clip2video meanP": (
        "clip2video",
        {"sim_type": "meanP", "temporal_type": "", "center_type": "", "center_proj": ""},
    ),
    "xclip": ("xclip", SEQ),
    "xclip tightTransf": ("xclip", TIGHT),
    "xpool": ("xpool", {"num_mha_heads": 2}),
    "xpool_baseline avg": ("xpool_baseline", {}),
    "xpool_baseline topk": ("xpool_baseline", {"pooling": "topk", "short_videos": "repeat"}),
    "drl dp": ("drl", {"interaction": "dp"}),
    "drl wti": ("drl", {}),
    "drl wti legacy": ("drl", {"pair_mask": "legacy", "sim_header": "meanP"}),
    "drl xti": ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1}),
    "ts2net": ("ts2net", SHIFT),
    "ucofia": ("ucofia", SHIFT),
    "ucofia eval": ("ucofia", SHIFT | {"code": "eval_t2v"}),
    "adaclip": ("adaclip", {"frame_agg": "mlp"}),
    "adaclip words": ("adaclip", {"word_agg": "transformer"}),
    "adaclip qscore": ("adaclip", POLICY | {"policy": "clip", "frame_agg": "qscore"}),
    "adaclip raw": ("adaclip", POLICY | {"policy": "raw", "sim_header": "seqTransf"}),
    "adaclip mobilenet": (
        "adaclip",
        POLICY | {"policy": "mobilenet_v3_large", "rnn": "lstm", "freeze_cnn": True},
    ),
}
"""A model of every family that has a head, by what it reads."""


def kept(features, columns):
    """`features` as they come back from a table, where words reach up to max_words."""
    if "words" in features:
        words = features["words"]
        missing = columns["words"].shape[0] - words.shape[1]
        padded = torch.nn.functional.pad(words, (0, 0, 0, missing))
        features = TextFeatures({**features.tensors, "words": padded})
    return type(features).from_columns(features.columns(), columns=columns)


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("case", CASES)
def test_a_head_on_what_was_kept_is_the_whole_model(case, training):
    model = make(*CASES[case]).train(training)
    if hasattr(model, "cross"):
        model.cross.dropout.p = 0.0
    pixels, mask = clips(6)
    given = inputs_of(model, pixels, mask)
    draw = torch.Generator().manual_seed(3)
    noise = {"noise": torch.randn(6, 4, generator=draw).double()} if training else {}
    whole = (model.encode_text(captions(5)), model.encode_video(**given, **noise))
    text = kept(model.text_backbone(captions(5)), model.backbone_text_columns)
    video = kept(model.video_backbone(**given), model.backbone_video_columns)
    apart = (model.text_head(text), model.video_head(video, **noise))
    assert isinstance(apart[0], TextFeatures) and isinstance(apart[1], VideoFeatures)
    for one, other in zip(apart, whole, strict=True):
        assert set(one) == set(other)
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_a_frozen_backbone_has_no_gradient_and_the_rest_learns(case):
    model = make(*CASES[case])
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    names = set(model.freeze_backbone())
    assert names == set(backbone_of(model, dict(model.named_parameters())))
    left = {name for name, p in model.named_parameters() if p.requires_grad}
    assert left == learns - names
    assert all(name == "clip.logit_scale" or not name.startswith("clip.") for name in left)
    assert not any(name.startswith("sampler.cnn_model") for name in left)


def test_a_policy_that_learns_from_pixels_cannot_be_cut_off():
    for options in ({}, {"freeze_cnn": True, "batch_norm": "legacy"}):
        model = make("adaclip", POLICY | {"policy": "mobilenet_v3_large"} | options)
        with pytest.raises(OptionsError, match="set freeze_cnn true, batch_norm fixed"):
            head_of(model)
    for case in CASES.values():
        assert isinstance(head_of(make(*case)), HeadFamily)


def test_what_only_embeds_has_no_head():
    with pytest.raises(OptionsError, match="a Frozen has no head"):
        head_of(make("frozen"))
