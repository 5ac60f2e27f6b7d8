"""AdaCLIP's frame policy: which K of N frames are kept, and how that choice is trained.

Written from specs/xclip-adaclip.md B1.3 alone (the original's code is CC BY-NC).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from reelvec.models.adaclip.mobilenet import FEATURES, NETWORKS, PolicyNetwork
from reelvec.models.clip.blocks import Transformer

__all__ = [
    "FramePolicy",
    "annealed_k",
    "best_frames",
    "centre_frames",
    "grey_frames",
    "gumbel_noise",
    "hard_top_k",
    "temperature",
]

Backbone = Literal["raw", "clip", "mobilenet_v2", "mobilenet_v3_large"]
Rnn = Literal["none", "lstm", "bilstm", "transformer"]
_TINY = 1e-40
_FLOOR = 1e-8


class FramePolicy(nn.Module):
    """A score for each frame, from cheap features; keys as ``sampler.*`` of the original.

    Args:
        backbone: raw (flattened pixels), clip (CLIP's own frame features), or a MobileNet's name.
        features: Numbers a frame of raw or clip.
        rnn: How frames see each other.
        mlp: Two layers after it, else one.
        hidden: Width of the rnn.
        mlp_hidden: Width between the two layers.
        frames: N, size of the position table (transformer).
        head_dim: Width of an attention head.

    Attributes:
        features: Numbers a frame that `look` gives.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        features: int,
        rnn: Rnn,
        mlp: bool,
        hidden: int,
        mlp_hidden: int,
        n_frames: int,
        head_dim: int,
    ) -> None:
        super().__init__()
        self.cnn_model: PolicyNetwork | None = None
        if backbone in NETWORKS:
            self.cnn_model = NETWORKS[backbone]()
            features = FEATURES
        self.features = features
        self._kind = rnn
        if rnn == "transformer":
            self.projection = nn.Sequential(nn.Linear(features, hidden))
            self.frame_position_embeddings = nn.Embedding(n_frames, hidden)
            self.transformer = Transformer(hidden, layers=1, heads=hidden // head_dim)
        elif rnn != "none":
            self.rnn = nn.LSTM(features, hidden, batch_first=True, bidirectional=rnn == "bilstm")
        width = features if rnn == "none" else hidden
        self.linear = nn.Sequential(nn.Linear(width, 1))
        if mlp:
            self.linear = nn.Sequential(
                nn.Linear(width, mlp_hidden), nn.ReLU(), nn.Linear(mlp_hidden, 1)
            )

    def look(self, x: Tensor) -> Tensor:
        """Frame features [V, N, features] of images [V, N, C, H, W]; features as they are."""
        x = x.to(next(self.linear.parameters()).dtype)
        if self.cnn_model is None or x.ndim == 3:
            return x.flatten(2)
        seen: Tensor = self.cnn_model(x.flatten(0, 1))
        return seen.view(*x.shape[:2], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [V, N] of frame features [V, N, features], or of images [V, N, C, H, W]."""
        x = self.look(x)
        if self._kind == "transformer":
            positions = self.frame_position_embeddings.weight[: x.shape[1]]
            x = self.transformer(self.projection(x) + positions)
        elif self._kind != "none":
            x, _ = self.rnn(x)
            if self._kind == "bilstm":
                x = x.view(*x.shape[:2], 2, -1).mean(2)
        scores: Tensor = self.linear(x)
        return scores.squeeze(2)


def best_frames(scores: Tensor, *, k: int) -> Tensor:
    """Indices [V, k] of the highest scores [V, N]: best first, as the original, not by time."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :k]


def hard_top_k(
    scores: Tensor, *, k: int, temperature: float, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Choose k frames by noisy scores; differentiable by the straight-through relaxation.

    Args:
        scores: [V, N] of the policy.
        k: How many, at most N.
        temperature: Of the relaxed choice; high is soft.
        noise: [V, N] Gumbel(0, 1), see `gumbel_noise`.

    Returns:
        Selection [V, k, N], one-hot forward and soft backward, and the chosen indices [V, k] in
        the order of choice. The gradient flows through the whole chain of soft choices.
    """
    logits = torch.log(torch.softmax(scores, dim=1).clamp(min=_FLOOR)) + noise
    soft = torch.zeros_like(logits)
    taken = torch.zeros_like(logits)
    choices, indices = [], []
    for _ in range(k):
        logits = logits + torch.log((1 - soft).clamp(min=_TINY))
        soft = torch.softmax(logits / temperature, dim=1)
        index = (soft + taken).argmax(dim=1, keepdim=True)
        taken = taken.scatter_add(1, index, torch.full_like(scores[:, :1], math.log(_TINY)))
        choices.append(soft)
        indices.append(index)
    relaxed, chosen = torch.stack(choices, dim=1), torch.cat(indices, dim=1)
    hard = torch.zeros_like(relaxed).scatter_(2, chosen[..., None], 1.0)
    return hard - relaxed.detach() + relaxed, chosen


def gumbel_noise(scores: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Gumbel(0, 1) noise shaped like scores, from the generator (None: torch's default)."""
    uniform = torch.empty_like(scores).exponential_(generator=generator)
    return -uniform.log()


def temperature(epoch: int, *, initial: float, decay: float, least: float) -> float:
    """Temperature of an epoch (from 0): initial * exp(-decay * epoch), at least ``least``."""
    return max(initial * math.exp(-decay * epoch), least)


def annealed_k(epoch: int, *, n_frames: int, top_k: int, warmup_epochs: int = 0) -> float:
    """How many frames an epoch (from 0) keeps: from frames - 1 down to top_k, in a straight line.

    The policy keeps the integer part. Without warm-up epochs, as in the recipes, it is top_k.
    """
    if epoch >= warmup_epochs:
        return top_k
    return (n_frames - 1) - epoch * (n_frames - 1 - top_k) / warmup_epochs


def grey_frames(frames: Tensor, *, size: int) -> Tensor:
    """What the raw policy looks at: grey [V, F, 1, size, size] float in [0, 1].

    Args:
        frames: uint8 [V, F, S, S, 3].
        size: Height and width, pixels: bicubic with antialias, then ITU-R 601 luma, as Pillow.
    """
    pixels = frames.flatten(0, 1).permute(0, 3, 1, 2).float()
    small = nn.functional.interpolate(
        pixels, size=(size, size), mode="bicubic", antialias=True, align_corners=False
    )
    red, green, blue = small.clamp_(0, 255).round_().unbind(1)
    luma = torch.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)
    return (luma / 255).view(*frames.shape[:2], 1, size, size)


def centre_frames(frames: Tensor) -> Tensor:
    """The middle 7/8 of frames, enlarged to their size: uint8 [V, F, S, S, 3].

    The original resizes a frame's shorter side to 256 pixels and keeps the middle 224
    (specs/xclip-adaclip.md B3); a stored frame is all of that side.
    """
    side = frames.shape[2]
    edge = side // 16
    inner = frames[:, :, edge : side - edge, edge : side - edge]
    pixels = inner.flatten(0, 1).permute(0, 3, 1, 2).float()
    large = nn.functional.interpolate(
        pixels, size=(side, side), mode="bicubic", align_corners=False
    )
    return large.clamp_(0, 255).round_().to(torch.uint8).permute(0, 2, 3, 1).view(frames.shape)
