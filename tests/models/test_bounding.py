"""Bounds of scores: never below the score as it is computed, whatever the vectors and matrices."""

import functools

import pytest
import torch
from torch.nn import functional

from reelvec.models.clip.architecture import Architecture
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import WholeRows, coarse
from reelvec.models.registry import build

WIDTH, FRAMES, WORDS, VIDEOS = 64, 5, 6, 96
SIZES = Architecture(
    embed_dim=WIDTH, image_size=64, vision_layers=1, vision_width=64, patch_size=32,
    text_width=WIDTH, text_layers=1, vocab_size=8,
)  # fmt: skip
FAMILIES = {
    "xpool": ("xpool", {}),
    "xpool_heads": ("xpool", {"num_mha_heads": 4}),
    "ts2net": ("ts2net", {}),
    "topk": ("xpool_baseline", {"pooling": "topk", "top_k": 2}),
    "attention": ("xpool_baseline", {"pooling": "attention", "attention_temperature": 0.1}),
    "qscore": ("adaclip", {"frame_agg": "qscore", "frame_agg_temp": 0.1}),
    "ucofia": ("ucofia", {}),
    "drl": ("drl", {}),
    "drl_legacy": ("drl", {"interaction": "ti", "pair_mask": "legacy"}),
    "xclip": ("xclip", {}),
}
KINDS = ("near", "apart", "equal rows", "zeros", "one frame", "tiny", "long")


@functools.cache
def made(name, *, seed, spread=0.02, scale=4.6):
    """A model whose learned matrices are off the identity by `spread`, and biases too."""
    family, options = FAMILIES[name]
    torch.manual_seed(seed)
    model = build(
        family, options=options, architecture=SIZES, max_words=WORDS, max_frames=FRAMES
    ).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not key.startswith("clip."):
                parameter.add_(spread * torch.randn_like(parameter))
        model.logit_scale.fill_(scale)
    return model


def unit(x):
    return functional.normalize(x, dim=-1)


def frames_of(kind, videos, count, *, generator):
    """Vectors [V, count, D] around a direction of all and one of each video."""

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    spread = {"apart": 2.0, "equal rows": 0.0}.get(kind, 0.3)
    vectors = 0.6 * draw(WIDTH) + draw(videos, 1, WIDTH) + spread * draw(videos, count, WIDTH)
    if kind == "equal rows":
        vectors[1::2] = vectors[::2]
    if kind == "zeros":
        vectors[::3] = 0.0
        vectors[1, 1:] = 0.0
    if kind == "tiny":
        vectors = vectors * torch.logspace(-30, 0, videos)[:, None, None]
    return 1e4 * vectors if kind == "long" else vectors


@torch.no_grad()
def drawn(model, kind, *, videos=VIDEOS, seed=0):
    """Columns of one text and of videos, as float32 tables have them."""
    generator = torch.Generator().manual_seed(seed)
    frames = frames_of(kind, videos, FRAMES, generator=generator)
    length = torch.ones(videos) if kind == "one frame" else torch.arange(videos) % FRAMES + 1
    mask = (torch.arange(FRAMES)[None] < length[:, None]).to(torch.int64)
    weights = torch.softmax(torch.randn(videos, FRAMES, generator=generator), 1) * mask
    many = frames_of(kind, videos, 4 * FRAMES, generator=generator)
    with_norm = frames if kind in {"zeros", "long", "tiny"} else unit(frames)
    found = {
        "frames": with_norm,
        "mask": mask,
        "weights": weights / weights.sum(1, keepdim=True),
        "video": with_norm.mean(dim=1),
        "pixels": many,
    }
    if hasattr(model, "pool_frames"):
        counts = model._counts(mask)
        normed = model.pool_frames.layer_norm1(frames).masked_fill(mask[..., None] == 0, 0.0)
        found |= model.pool_frames.folded(normed, counts)._asdict()
    words = torch.randn(1, WORDS, WIDTH, generator=generator) + frames[2, :1].float()
    asked = {
        "sentence": unit(words.mean(dim=1)) * (7.0 if hasattr(model, "pool_frames") else 1.0),
        "embedding": unit(words[:, 0]),
        "words": unit(words),
        "weights": torch.softmax(torch.randn(1, WORDS, generator=generator), 1),
        "mask": torch.ones(1, WORDS, dtype=torch.int64),
    }
    return (
        TextFeatures({name: asked[name] for name in model.text_columns}),
        VideoFeatures({name: found[name].float() if found[name].is_floating_point()
                       else found[name] for name in model.video_columns}),
    )  # fmt: skip


@torch.inference_mode()
def bounds(model, text, video, *, room=1 << 30):
    """Upper bounds float64 [V]; infinity where nothing is proven."""
    bound = model.score_bound()
    kept, asked = bound.kept(video), bound.asked(text)
    near = {}
    for name, vectors in kept.vectors.items():
        rows = coarse(vectors)
        measures = torch.stack(rows[1:], dim=1)
        whole = WholeRows(rows.whole, measures, room=room)
        near[name] = whole.near(asked.rows[name], slice(0, len(vectors)))
    return bound.upper(asked, near, kept.facts).masked_fill(~kept.sure, torch.inf)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_no_score_is_above_its_bound(name, kind):
    for seed, (spread, scale) in enumerate([(0.02, 4.6), (1.0, 20.0)]):
        model = made(name, seed=seed, spread=spread, scale=scale)
        text, video = drawn(model, kind, seed=seed)
        with torch.no_grad():
            scores = model.similarity(text, video)[0].double()
        found = bounds(model, text, video)
        assert not found.isnan().any()
        finite = scores.isfinite()
        assert (found >= scores - 2.0**-20 * scores.abs())[finite].all(), (spread, scale)
        assert (found[~finite] == torch.inf).all()
        if kind in {"near", "equal rows", "one frame"} and spread <= 0.02:
            assert found.isfinite().all()  # it is a bound of something
            assert (found - scores).mean() < 3 * scores.std()
