"""What every family must keep, whichever it is. A family's test class says how to build it."""

import pytest
import torch

from reelvec.models.clip.architecture import Architecture
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.registry import build

SIZES = Architecture(
    embed_dim=32,
    image_size=8,
    vision_layers=2,
    vision_width=32,
    patch_size=4,
    text_width=32,
    text_layers=2,
    vocab_size=96,
    head_dim=16,
)
WORDS, FRAMES = 9, 4


def make(family, options=None, *, sizes=SIZES, words=WORDS, frames=FRAMES, seed=0):
    """A random model whose header is far from its start, in float64, not training."""
    torch.manual_seed(seed)
    model = build(
        family, options=options or {}, architecture=sizes, max_words=words, max_frames=frames
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("clip."):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.double().eval()


def captions(count, *, words=WORDS, vocabulary=96, seed=1):
    """Ids as a tokenizer gives them: start, words, end (the largest id), zeros."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(count, words, dtype=torch.int64)
    for i in range(count):
        length = 1 + (i + 1) % (words - 2)
        inner = torch.randint(1, vocabulary - 2, (length,), generator=generator)
        ids[i, : length + 2] = torch.tensor([vocabulary - 2, *inner.tolist(), vocabulary - 1])
    return ids


def clips(count, *, frames=FRAMES, side=8, seed=2):
    """uint8 frames [V, F, S, S, 3] and a mask of all lengths from 1 up."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, frames, side, side, 3), generator=generator)
    lengths = torch.arange(count) % frames + 1
    mask = (torch.arange(frames)[None] < lengths[:, None]).to(torch.int64)
    return pixels.to(torch.uint8), mask


def inputs_of(model, pixels, mask):
    """What `prepare` gives, in the model's precision."""
    return {
        name: x.double() if x.is_floating_point() else x
        for name, x in model.prepare(pixels, mask).items()
    }


class FamilyContract:
    """Subclass, set `family`, and give the variants as pytest parameters of a fixture `options`."""

    family = ""

    @pytest.fixture
    def model(self, options):
        return make(self.family, options)

    @pytest.fixture
    def text(self, model):
        with torch.no_grad():
            return model.encode_text(captions(6))

    @pytest.fixture
    def video(self, model):
        with torch.no_grad():
            return model.encode_video(**inputs_of(model, *clips(7)))

    def test_features_are_as_announced(self, model, text, video):
        assert isinstance(text, TextFeatures) and isinstance(video, VideoFeatures)
        for features, columns, rows in (
            (text, model.text_columns, 6),
            (video, model.video_columns, 7),
        ):
            assert set(features) == set(columns)
            for name, column in columns.items():
                assert features[name].shape == (rows, *column.shape), name
                assert features[name].is_floating_point() == (column.kind != "integer"), name

    def test_scores_survive_tables(self, model, text, video):
        """Columns out and in again give the same scores, row order kept."""
        sim = model.similarity(text, video)
        assert sim.shape == (6, 7) and torch.isfinite(sim).all()
        back = model.similarity(
            TextFeatures.from_columns(text.columns(), columns=model.text_columns),
            VideoFeatures.from_columns(video.columns(), columns=model.video_columns),
        )
        torch.testing.assert_close(back, sim, rtol=0, atol=0)

    def test_scores_by_block_equal_the_whole(self, model, text, video):
        sim = model.similarity(text, video)
        rows = [
            torch.cat(
                [
                    model.similarity(text.index(t), video.index(v))
                    for v in ([0, 1, 2], [3, 4, 5, 6])
                ],
                1,
            )
            for t in ([0], [1, 2, 3, 4, 5])
        ]
        torch.testing.assert_close(torch.cat(rows), sim, rtol=0, atol=1e-9)

    @torch.no_grad()
    def test_no_item_depends_on_its_batch(self, model, text, video):
        alone_text = [model.encode_text(row[None]) for row in captions(6)]
        pixels, mask = clips(7)
        alone = [
            model.encode_video(**inputs_of(model, pixels[i : i + 1], mask[i : i + 1]))
            for i in range(7)
        ]
        sim = model.similarity(TextFeatures.cat(alone_text), VideoFeatures.cat(alone))
        torch.testing.assert_close(sim, model.similarity(text, video), rtol=0, atol=1e-9)

    @torch.no_grad()
    def test_an_empty_caption_is_a_text(self, model, video):
        """Start and end token alone: scores are finite, and the same beside longer captions."""
        tokens = captions(3)
        tokens[1] = 0
        tokens[1, :2] = torch.tensor([94, 95])
        scores = model.similarity(model.encode_text(tokens), video)
        alone = model.similarity(model.encode_text(tokens[1:2]), video)
        assert torch.isfinite(scores).all()
        torch.testing.assert_close(alone, scores[1:2], rtol=0, atol=1e-9)

    @torch.no_grad()
    def test_what_stands_in_padded_frames_is_nothing(self, model, text, video):
        pixels, mask = clips(7)
        noisy = torch.where(mask[:, :, None, None, None] == 1, pixels, 255 - pixels)
        again = model.encode_video(**inputs_of(model, noisy, mask))
        torch.testing.assert_close(
            model.similarity(text, again), model.similarity(text, video), rtol=0, atol=1e-9
        )

    def test_dot_product_when_said(self, model, text, video):
        if not model.is_dot_product:
            return
        queries, gallery = model.text_vectors(text), model.video_vectors(video)
        for vectors in (queries, gallery):
            torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)).double())
        expected = model.logit_scale.exp() * queries @ gallery.T
        torch.testing.assert_close(model.similarity(text, video), expected, rtol=0, atol=1e-9)

    def test_terms_sum_to_the_score(self, model, text, video):
        total = sum(weight * logits for weight, logits in model.score_terms(text, video))
        torch.testing.assert_close(total, model.similarity(text, video), rtol=0, atol=1e-9)

    def test_every_trainable_parameter_learns(self, model):
        """Parameters without a gradient would keep distributed training waiting."""
        model.train()
        sim = model.similarity(
            model.encode_text(captions(7)), model.encode_video(**inputs_of(model, *clips(7)))
        )
        (-torch.log_softmax(sim, 1).diagonal().mean()).backward()
        idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert idle == []
