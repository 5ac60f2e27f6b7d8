"""How AdaCLIP weighs frames into a video and words into a text (specs/xclip-adaclip.md B1.2).

Key names stand at the root of a checkpoint, so this is a base class, not a submodule.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reelvec.models.adaclip.counting import adaclip_macs
from reelvec.models.adaclip.options import AdaClipOptions
from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import CLIP_EPS, HEADER_EPS, Transformer, quick_gelu
from reelvec.models.costs import Macs
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frame_bounds import HighestFrame
from reelvec.models.heads import HeadFamily
from reelvec.models.temporal import key_mask, unit

__all__ = ["WeighingFamily"]

_HELD = 1 << 22
"""Query-dependent weights held at once, numbers: bounds the memory of qscore."""


class WeighingFamily(HeadFamily, Bounded):
    """Towers with frame weights, word weights, and the scores that follow.

    Attributes:
        options: AdaCLIP's.
    """

    after_gather = ("frame_agg_", "word_agg_")

    def __init__(
        self,
        options: AdaClipOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(architecture=architecture, max_words=max_words, max_frames=max_frames)
        self.options = options

    def add_weights(self) -> None:
        """Add the modules the options ask for, after all others, as the original orders keys."""
        self._add("frame_agg", kind=self.options.frame_agg, eps=CLIP_EPS)
        self._add("word_agg", kind=self.options.word_agg, eps=HEADER_EPS)

    def _add(self, name: str, *, kind: str, eps: float) -> None:
        width = self.architecture.embed_dim
        if kind == "mlp":
            mlp = nn.Sequential(
                nn.Linear(width, 2 * width),
                _QuickGelu(),
                nn.Linear(2 * width, width),
                _QuickGelu(),
                nn.Linear(width, 1),
            )
            self.add_module(f"{name}_mlp", mlp)
        elif kind == "transformer":
            stack = Transformer(width, layers=1, heads=self._heads, eps=eps)
            self.add_module(f"{name}_transformer", stack)
            self.add_module(f"{name}_proj", nn.Linear(width, 1))

    @property
    def _heads(self) -> int:
        return self.architecture.embed_dim // self.architecture.head_dim

    @property
    def is_dot_product(self) -> bool:
        """True, except for qscore, whose video vector depends on the query."""
        return self.options.frame_agg != "qscore"

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self.architecture.embed_dim,))}

    @property
    def reads_words(self) -> bool:
        """Where they are weighed."""
        return self.options.word_agg != "none" and self.options.frame_agg == "none"

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """``embedding`` [T, D], unit: the sentence, or the weighted sum of its words."""
        if not self.reads_words:
            return TextFeatures({"embedding": unit(given["sentence"])})
        words, tokens = given["words"], given["tokens"]
        positions = torch.arange(words.shape[1], device=tokens.device)
        real = positions <= tokens.argmax(dim=1, keepdim=True)  # start to end token
        added = key_mask(
            real, heads=self._heads, dtype=words.dtype, layout=self.options.mask_layout
        )
        logits = self._logits("word_agg", words, mask=added) / self.options.word_agg_temp
        weights = torch.softmax(logits.masked_fill(~real, -torch.inf), dim=1)
        return TextFeatures({"embedding": unit(_weighted(words, weights))})

    def weigh_frames(self, x: Tensor) -> Tensor:
        """Unit vector [V, D] of kept frames [V, K, D]."""
        options = self.options
        if options.frame_agg != "none":
            weights = torch.softmax(self._logits("frame_agg", x) / options.frame_agg_temp, dim=1)
            return unit(_weighted(x, weights))
        if options.reuse_scores and options.word_agg == "none":
            return unit(x.sum(dim=1))  # the scores' weights are in x
        return unit(unit(x).mean(dim=1))

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]; qscore weighs frames anew for each query."""
        if self.is_dot_product:
            return super().similarity(text, video)
        queries, frame_features = text["embedding"], video["frames"]
        rows = max(_HELD // max(frame_features.shape[0] * frame_features.shape[1], 1), 1)
        scores = [self._query_scores(part, frame_features) for part in torch.split(queries, rows)]
        return self.logit_scale.exp() * torch.cat(scores)

    def score_bound(self) -> HighestFrame | None:
        """Of qscore: the frame that is nearest, by the least length a mean can have."""
        if self.is_dot_product:
            return None
        return HighestFrame(self, text="embedding", shortens=True)

    def _query_scores(self, queries: Tensor, frame_features: Tensor) -> Tensor:
        """Cosines [T, V] of unit queries with frames weighed by them.

        cos = sum_k w_k (t . x_k) / |sum_k w_k x_k|, the length from the Gram matrix of the frames:
        T V K^2 operations, where the weighted sums themselves are T V K D numbers.
        """
        lengths = torch.linalg.vector_norm(frame_features, dim=2)
        dots = torch.einsum("td,vkd->tvk", queries, frame_features)
        weights = torch.softmax(dots / lengths / self.options.frame_agg_temp, dim=2)
        gram = frame_features @ frame_features.transpose(1, 2)
        square = (torch.einsum("tvk,vkj->tvj", weights, gram) * weights).sum(2)
        return (weights * dots).sum(2) / square.sqrt()

    def macs(self) -> Macs:
        """Of inference: the frames that are not kept are not encoded."""
        return adaclip_macs(
            self.options,
            self.architecture,
            policy=getattr(self, "sampler", None),
            words=self.max_words,
            frames=self.max_frames,
        )

    def _logits(self, name: str, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Logits [B, L] of tokens x [B, L, D] by the MLP or transformer called ``name``."""
        if hasattr(self, f"{name}_mlp"):
            logits: Tensor = self.get_submodule(f"{name}_mlp")(x)
        else:
            seen = self.get_submodule(f"{name}_transformer")(x, mask=mask)
            logits = self.get_submodule(f"{name}_proj")(seen)
        return logits.squeeze(2)


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu(x)


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Sums [B, D] of x [B, L, D] with weights [B, L]."""
    return (weights[:, None, :] @ x).squeeze(1)
