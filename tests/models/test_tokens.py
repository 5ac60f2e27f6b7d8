"""Shifted tokens and the choice among them, beside naive twins."""

import pytest
import torch

from reelvec.models.clip.architecture import architecture
from reelvec.models.noise import StepNoise
from reelvec.models.registry import build
from reelvec.models.tokens.selection import hard_indicators, perturbed_indicators
from reelvec.models.tokens.shift import shifted


@pytest.mark.parametrize(("tokens", "n_div"), [(50, 7), (17, 7), (7, 7), (26, 7), (5, 2)])
@pytest.mark.parametrize("frames", [1, 3])
def test_some_tokens_come_from_the_frames_beside(tokens, n_div, frames):
    x = torch.arange(2 * frames * tokens).view(2 * frames, tokens, 1)
    found = shifted(x, frames=frames, n_div=n_div)
    fold = tokens // n_div
    before, after = set(range(1, tokens, fold)), set(range(4, tokens, fold))
    for v in range(2):
        for f in range(frames):
            for i in range(tokens):
                source = f
                if i in after:
                    source = min(f + 1, frames - 1)
                elif i in before:
                    source = max(f - 1, 0)
                assert found[v * frames + f, i] == x[v * frames + source, i]
    assert torch.equal(found[:, 0], x[:, 0])


def test_the_choice_is_the_mean_over_noise_and_its_gradient_the_diagonal():
    torch.manual_seed(0)
    scores = torch.randn(2, 6).double().requires_grad_()
    noise, upstream = torch.randn(2, 5, 6).double(), torch.randn(2, 3, 6).double()
    found = perturbed_indicators(scores, noise, k=3, sigma=0.5)
    (found * upstream).sum().backward()
    for row in range(2):
        shown, moved = torch.zeros(3, 6).double(), torch.zeros(6).double()
        for sample in noise[row]:
            kept = sorted((scores[row] + 0.5 * sample).topk(3).indices.tolist())
            for place, patch in enumerate(kept):
                shown[place, patch] += 1 / 5
                moved[patch] += upstream[row, place, patch] * sample[patch] / 5 / 0.5
        torch.testing.assert_close(found[row].detach(), shown)
        torch.testing.assert_close(scores.grad[row], moved)


def test_without_noise_the_best_are_kept_by_place():
    scores = torch.tensor([[0.1, 0.9, 0.3, 0.7]])
    assert hard_indicators(scores, k=2).argmax(-1).tolist() == [[1, 3]]
    still = perturbed_indicators(scores, torch.zeros(5, 4), k=2, sigma=0.05)
    torch.testing.assert_close(still, hard_indicators(scores, k=2))


def test_gaussian_noise_is_of_its_row_and_its_kind():
    noise = StepNoise(7, 3).of_rows(torch.arange(4))
    drawn = noise.normal(20_000, site="selection")
    assert torch.equal(noise[2:3].normal(20_000, site="selection")[0], drawn[2])
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02
    assert abs((drawn.abs() < 1).double().mean() - 0.6827) < 0.01
    assert (drawn[0] - noise.normal(20_000, site="other")[0]).abs().max() > 1


@pytest.mark.parametrize("family", ["ts2net", "ucofia"])
def test_what_is_kept_of_a_frame_is_every_patch_and_its_class_token(family):
    sizes = architecture("ViT-B/32")
    with torch.device("meta"):
        model = build(family, options={}, architecture=sizes, max_words=32, max_frames=12)
    assert model.backbone_video_columns["tokens"].shape == (12, 1 + 7 * 7, 512)
