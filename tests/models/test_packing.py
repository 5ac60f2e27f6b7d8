"""What is not encoded makes no difference: every family beside a twin that encodes padding."""

import pytest
import torch

from reelvec.models.clip.packing import Places, caption_lengths, encode_packed
from reelvec.models.family import ClipFamily, RetrievalModel, at_least_fp32
from reelvec.models.training.losses import weighted_symmetric_loss
from tests.models.contracts_family import FRAMES, captions, clips, inputs_of, make

WORDS, ROWS = 20, 6
ONE_LAYER = {"cross_num_hidden_layers": 1}
POLICY = {"hidden_dim": 32, "mlp_hidden_dim": 8, "top_k": 3, "rescale_size": 4}
SHIFT = {"shift_layers": (0,), "n_div": 2, **ONE_LAYER}
VARIANTS = [
    *(
        (family, {"sim_header": header, **ONE_LAYER})
        for family in ("clip4clip", "xclip")
        for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf")
    ),
    ("clip4clip", {"linear_patch": "3d"}),
    ("xclip", {"linear_patch": "3d"}),
    ("clip2video", ONE_LAYER),
    ("clip2video", {"temporal_proj": "sigmoid_selfA", "center_proj": "TAB", **ONE_LAYER}),
    ("clip2video", {"temporal_type": "", "temporal_proj": "", "center_type": "", **ONE_LAYER}),
    ("clip2video", {"mask_layout": "legacy", **ONE_LAYER}),
    ("xpool", {"num_mha_heads": 2}),
    ("xpool", {"short_videos": "repeat"}),
    ("xpool_baseline", {"pooling": "topk", "short_videos": "repeat"}),
    ("xpool_baseline", {"pooling": "attention", "attention_temperature": 0.1}),
    ("drl", {"interaction": "dp", **ONE_LAYER}),
    ("drl", {"interaction": "ti", "sim_header": "meanP"}),
    ("drl", {"interaction": "wti", **ONE_LAYER}),
    ("drl", {"interaction": "wti", "pair_mask": "legacy", **ONE_LAYER}),
    ("drl", {"interaction": "xti", **ONE_LAYER}),
    ("ts2net", SHIFT),
    ("ucofia", SHIFT),
    ("adaclip", {"policy": "none", "frame_agg": "qscore"}),
    ("adaclip", {"policy": "none", "word_agg": "mlp", "mask_layout": "legacy"}),
    ("adaclip", {"policy": "none", "word_agg": "transformer", "mask_layout": "legacy"}),
    ("adaclip", {"policy": "raw", "rnn": "bilstm", "sim_header": "seqTransf", **POLICY}),
    ("adaclip", {"policy": "clip", "word_agg": "transformer", **POLICY}),
    ("adaclip", {"policy": "raw", "reuse_scores": True, "frame_agg": "mlp", **POLICY}),
]


def label(variant):
    family, options = variant
    return "-".join([family, *(str(v) for k, v in options.items() if k not in POLICY)])


def given_to(model):
    """Captions, and frames of which half are padding, in shuffled rows."""
    pixels, mask = clips(ROWS)
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    given = inputs_of(model, pixels[order], mask[order])
    if model.training and getattr(model, "has_policy", False):
        draw = torch.Generator().manual_seed(3)
        given["noise"] = torch.randn(ROWS, FRAMES, dtype=torch.float64, generator=draw)
    return captions(ROWS, words=WORDS), given


def whole(monkeypatch, given):
    """The twin's input, after which nothing is packed: every frame and every token is encoded."""
    monkeypatch.setattr(
        ClipFamily,
        "encode_frames",
        lambda self, frames, mask=None, **_: at_least_fp32(self.clip.encode_video(frames)),
    )
    for family in (ClipFamily, *ClipFamily.__subclasses__()):
        monkeypatch.setattr(family, "caption_lengths", RetrievalModel.caption_lengths)
    return given


def repeated(given):
    """AdaCLIP's twin: short videos repeat frames floor(i n / N), so that none is padded."""
    mask = given["mask"]
    count = mask.sum(1)
    rows = [
        [i * int(n) // len(row) for i in range(len(row))]
        for n, row in zip(count, mask, strict=True)
    ]
    shown = {k: torch.stack([x[i] for x, i in zip(v, rows, strict=True)]) for k, v in given.items()}
    return shown | {k: given[k] for k in ("noise",) if k in given} | {"mask": torch.ones_like(mask)}


def trained(model, tokens, given):
    """Score, loss and gradients."""
    text, video = model.encode_text(tokens), model.encode_video(**given)
    terms = model.score_terms(text, video)
    loss = weighted_symmetric_loss(terms)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    logits = {f"logits {i}": logits.detach() for i, (_, logits) in enumerate(terms)}
    columns = {n: x.detach() for f in (text, video) for n, x in f.tensors.items()}
    columns.pop("selected", None)  # of a repeated frame either
    columns.pop("mask", None)
    return {"loss": loss.detach(), **logits, **columns, **gradients}


@pytest.mark.parametrize("variant", VARIANTS, ids=label)
def test_score_loss_and_gradients_are_those_of_the_padded_form(variant, monkeypatch):
    check_beside_twin(*variant, True, monkeypatch)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "policy" in v[1]], ids=label)
def test_evaluation_of_kept_frames_is_that_of_the_padded_form(variant, monkeypatch):
    check_beside_twin(*variant, False, monkeypatch)


def check_beside_twin(family, options, training, monkeypatch):
    model, twin = (make(family, options, words=WORDS).train(training) for _ in range(2))
    for module in (*model.modules(), *twin.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tokens, given = given_to(model)
    found = trained(model, tokens, given)
    given = repeated(given) if family == "adaclip" else given
    expected = trained(twin, tokens, whole(monkeypatch, given))
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("variant", "frames", "words"),
    [
        (("clip4clip", {}), 13, 16),
        (("clip4clip", {"sim_header": "tightTransf", **ONE_LAYER}), 14, 16),
        (("clip4clip", {"linear_patch": "3d"}), ROWS * FRAMES, 16),
        (("xclip", {}), 14, WORDS),
        (("clip2video", ONE_LAYER), 14, 16),
        (("adaclip", {"policy": "none"}), 13, 16),
        (("adaclip", {"policy": "raw", **POLICY}), 12, 16),
        (("xpool", {}), 13, 16),
        (("drl", {}), 13, 16),
        (("drl", {"pair_mask": "legacy"}), 14, WORDS),
        (("frozen", {}), 13, 16),
    ],
    ids=lambda x: label(x) if isinstance(x, tuple) else str(x),
)
@torch.no_grad()
def test_what_the_towers_are_given(variant, frames, words, monkeypatch):
    """Of 24 frames 13 are real; a padded one is encoded once, where it counts."""
    model = make(*variant, words=WORDS)
    tokens, given = given_to(model)
    seen = {}
    for name in ("encode_video", "encode_text"):
        encode = getattr(model.clip, name)
        monkeypatch.setattr(
            model.clip, name, lambda x, n=name, e=encode: seen.update({n: x.shape[:2]}) or e(x)
        )
    model.encode_video(**given)
    model.encode_text(tokens)
    assert seen["encode_video"].numel() == frames
    assert seen["encode_text"] == (ROWS, words)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "mask", [[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 0], [1, 0]], [[1, 0], [0, 0]], [[0, 1]]]
)
def test_any_mask(mask, keep):
    """Rows without a frame, masks with holes."""
    mask = torch.tensor(mask)
    frames = torch.randn(*mask.shape, 3, 2, 2) * mask[..., None, None, None]

    def encode(x):
        return x.flatten(1) + 1

    found = encode_packed(encode, frames, mask, keep_padding=keep)
    wanted = encode(frames.flatten(0, 1)).view(*mask.shape, -1)
    assert found.shape == wanted.shape
    shown = torch.ones_like(mask) if keep else mask
    assert torch.equal(found[shown == 1], wanted[shown == 1])
    assert torch.isfinite(found).all()


def test_padding_never_holds_anothers_nan():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    places = Places(mask != 0)
    found = places.spread(torch.tensor([[torch.nan], [torch.nan], [5.0]]))
    assert found[1].tolist() == [[5.0]] * 3


def test_captions_are_cut_behind_their_last_end_token():
    """A caption may spell an end token; multiples of 8, at most all."""
    tokens = torch.zeros(5, 19, dtype=torch.int64)
    tokens[:, 0] = 98
    for row, end in enumerate((1, 7, 8, 18)):
        tokens[row, end] = 99
    tokens[4, [2, 11]] = 99
    assert caption_lengths(tokens).tolist() == [8, 8, 16, 19, 16]
    assert caption_lengths(tokens[:0]).tolist() == []
