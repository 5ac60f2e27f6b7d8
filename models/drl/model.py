"""DRL (Wang et al. 2022): disentangled representations, four ways to let texts and videos meet.

Source: specs/more-heads.md 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs
from reelvec.models.drl.bound import TokenBound
from reelvec.models.drl.decorrelation import correlation, of_partners, penalty
from reelvec.models.drl.interaction import Tokens, interaction, tokens_of
from reelvec.models.family import OriginalSettings, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.headers import HeaderFamily, HeaderOptions, header_options
from reelvec.models.noise import Noise
from reelvec.models.temporal import init_as_originals, pool, unit
from reelvec.models.training.losses import Terms

__all__ = ["Drl"]

_WEIGHING = ("text_weight_fc.", "video_weight_fc.")
_CROSS_HEADS, _HEAD_DIM = 8, 64
"""Literals of the original: heads of xti's cross encoder, and width of all other heads."""
_HEADERS = MappingProxyType({None: "meanP", "None": "meanP"})


class DrlOptions(HeaderOptions):
    """Header, interaction and decorrelation (specs/more-heads.md 3.1 to 3.5)."""

    sim_header: Literal["meanP", "seqLSTM", "seqTransf", "tightTransf"] = "seqTransf"
    """What frames go through (`agg_module`); no tightTransf: that is interaction xti."""
    interaction: Literal["dp", "ti", "wti", "xti"] = "wti"
    """dp: two vectors; ti: words with frames; wti: the same, weighed; xti: a pass a pair."""
    wti_arch: Literal[1, 2, 3] = 2
    """Layers of wti's weights."""
    pair_mask: Literal["fixed", "legacy"] = "fixed"
    """legacy: a pair with padding counts as 0 where the best match is taken, as released."""
    cdcr: Literal[0, 1, 2, 3] = 0
    """Decorrelation of channels: 0 none; 1 by a token an item; 2 by tokens and their best matches;
    3 by these, weighed (wti alone)."""
    cdcr_alpha1: float = Field(default=1.0, ge=0)
    """Weight of a channel's correlation with itself."""
    cdcr_alpha2: float = Field(default=0.06, ge=0)
    """Weight of those with other channels."""
    cdcr_lambda: float = Field(default=0.001, ge=0)
    """Weight of decorrelation beside the loss of pairs."""
    cdcr_guard: Literal["fixed", "legacy"] = "fixed"
    """legacy: NaN where a channel is the same in all rows, as released."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sim_header == "tightTransf":
            raise ValueError("tightTransf is interaction xti here; give sim_header another value")
        if self.cdcr == 3 and self.interaction == "ti":
            raise ValueError("cdcr 3 weighs tokens, and ti has no weights: use wti, or cdcr 2")
        return self

    @property
    def meets_tokens(self) -> bool:
        """Whether words meet frames."""
        return self.interaction in ("ti", "wti")

    @property
    def draws_noise(self) -> bool:
        """The cross encoder's dropout, or the one token an item."""
        return self.interaction == "xti" or (self.meets_tokens and self.cdcr == 1)


class Drl(HeaderFamily, Bounded):
    """Columns: `embedding` (dp); words, frames, weights, masks (ti, wti); tightTransf's (xti)."""

    options_class = DrlOptions
    options: DrlOptions

    def __init__(
        self,
        options: DrlOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        self._is_legacy = options.pair_mask == "legacy"
        width, head_dim = architecture.embed_dim, architecture.head_dim
        if options.interaction == "wti":
            self.text_weight_fc = _weighing(width, layers=options.wti_arch)
            self.video_weight_fc = _weighing(width, layers=options.wti_arch)
        if options.interaction == "xti":
            of_original = head_dim == _HEAD_DIM and width % _CROSS_HEADS == 0
            self.add_cross(heads=_CROSS_HEADS if of_original else width // head_dim)

    @classmethod
    def original_settings(cls, given: Mapping[str, Any]) -> OriginalSettings:
        """By our names; the number of layers is read for xti alone, as there."""
        ours = dict(given)
        if "agg_module" in ours:
            ours["sim_header"] = _HEADERS.get(ours["agg_module"], ours["agg_module"])
        if ours.get("interaction", "wti") != "xti":
            ours.pop("cross_num_hidden_layers", None)
        return super().original_settings(ours)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """Wti by its weights, xti behind seqTransf; others look like a CLIP4Clip."""
        towers = {key: x for key, x in state.items() if not key.startswith(_WEIGHING)}
        options, rest = header_options(towers)
        released = {"pair_mask": "legacy"}
        if rest and options["sim_header"] == "tightTransf":
            own = {k: x for k, x in towers.items() if not k.startswith(("cross.", "similarity_"))}
            inner, beside = header_options(own)
            if beside or len(towers) != len(state):
                return None
            return OriginalSettings(options=inner | released | {"interaction": "xti"})
        layers = sum(key.startswith(_WEIGHING[0]) for key in state) // 2
        if rest or not 1 <= layers <= 3:
            return None
        return OriginalSettings(options=options | released | {"wti_arch": layers})

    @property
    def is_dot_product(self) -> bool:
        """True of dp."""
        return self.options.interaction == "dp"

    @property
    def text_columns(self) -> Columns:
        """One vector, or words with weights and mask."""
        return self._columns("words", self.max_words, whole="sentence")

    @property
    def video_columns(self) -> Columns:
        """One vector, or frames with weights and mask; xti: without weights."""
        columns = self._columns("frames", self.max_frames, whole="frames")
        if self.options.interaction == "xti":
            columns = {
                "frames": Column((self.max_frames, self.architecture.embed_dim)),
                "mask": Column((self.max_frames,), kind="integer"),
            }
        return columns

    def _columns(self, tokens: str, count: int, *, whole: str) -> dict[str, Column]:
        width = self.architecture.embed_dim
        if self.options.meets_tokens:
            return {
                tokens: Column((count, width)),
                "weights": Column((count,)),
                "mask": Column((count,), kind="integer"),
            }
        return {"embedding" if self.is_dot_product else whole: Column((width,))}

    @property
    def reads_words(self) -> bool:
        """Where words meet frames."""
        return self.options.meets_tokens

    @property
    def reads_padding(self) -> bool:
        """As released, where tokens meet; and xti's columns hold it."""
        return self._keeps_padding or self.options.interaction == "xti"

    @property
    def _keeps_padding(self) -> bool:
        return self._is_legacy and self.options.meets_tokens

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """All positions as released, where the best match of a frame may be padding."""
        if self._keeps_padding:
            return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
        return super().caption_lengths(tokens)

    def macs(self) -> Macs:
        """Towers, header, and weights of tokens."""
        if self.options.interaction != "wti":
            return super().macs()
        width = self.architecture.embed_dim
        token = (self.options.wti_arch - 1) * width * width + width
        return super().macs() + Macs(self.max_words * token, self.max_frames * token)

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """dp: `embedding`; ti, wti: `words` [T, L, D], `weights`, `mask`; xti: `sentence`."""
        if self.is_dot_product:
            return TextFeatures({"embedding": unit(given["sentence"])})
        if not self.options.meets_tokens:
            return given
        tokens, words = given["tokens"], given["words"]
        places = torch.arange(self.max_words, device=tokens.device)
        mask = (places <= tokens.argmax(dim=1, keepdim=True)).to(torch.int64)
        missing = self.max_words - words.shape[1]
        words = nn.functional.pad(words, (0, 0, 0, missing), value=1.0)  # of any length but zero
        found = self._weighed(words, mask, "text_weight_fc")
        return TextFeatures(dict(zip(("words", "weights", "mask"), found, strict=True)))

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """dp: `embedding` [V, D]; else `frames` [V, F, D] and `mask` [V, F], also `weights`.

        Raises:
            InputError: another number of frames than max_frames, where frames are kept.
        """
        encoded, mask = given["frames"], given["mask"]
        if self.is_dot_product:
            return VideoFeatures({"embedding": pool(self.temporal(encoded, mask), mask)})
        self.check_frames(encoded, why="the columns of a video have")
        encoded = self.temporal(encoded, mask, padded=self.reads_padding)
        if not self.options.meets_tokens:
            return VideoFeatures({"frames": encoded, "mask": mask})
        found = self._weighed(encoded, mask, "video_weight_fc")
        return VideoFeatures(dict(zip(("frames", "weights", "mask"), found, strict=True)))

    def _weighed(self, x: Tensor, mask: Tensor, weighing: str) -> Tokens:
        logits = None
        if self.options.interaction == "wti":
            logits = self.get_submodule(weighing)(x).squeeze(2)
        return tokens_of(x, mask, logits=logits, keep_padding=self._keeps_padding)

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]."""
        if self.is_dot_product:
            return super().similarity(text, video)
        scale = self.logit_scale.exp()
        if self.options.meets_tokens:
            return scale * interaction(*_both(text, video), legacy=self._is_legacy)
        return scale * self.cross_score(text["sentence"], video["frames"], video["mask"])

    def score_bound(self) -> TokenBound | None:
        """Of words with frames."""
        return TokenBound(self, legacy=self._is_legacy) if self.options.meets_tokens else None

    def training_terms(self, text: TextFeatures, video: VideoFeatures, *, noise: Noise) -> Terms:
        """`score_terms`, with xti's dropout."""
        if self.options.interaction != "xti":
            return self.score_terms(text, video)
        logits = self.cross_score(text["sentence"], video["frames"], video["mask"], noise=noise)
        return [(1.0, self.logit_scale.exp() * logits)]

    def batch_loss(
        self, text: TextFeatures, video: VideoFeatures, *, noise: Noise
    ) -> Tensor | None:
        """The decorrelation of matching pairs, times its weight."""
        options = self.options
        if not options.cdcr or options.interaction == "xti":
            return None
        guard = options.cdcr_guard == "fixed"
        if self.is_dot_product:
            pairs = (text["embedding"], video["embedding"])
            found = correlation(*pairs, guard=guard, total=len(text))
        elif options.cdcr == 1:
            words, frames = _both(text, video)
            drawn = (_one(words, noise, site="word"), _one(frames, noise, site="frame"))
            found = correlation(*drawn, guard=guard, total=len(text))
        else:
            found = of_partners(
                *_both(text, video),
                weighed=options.cdcr == 3,
                legacy=self._is_legacy,
                guard=guard,
            )
        same, others = options.cdcr_alpha1, options.cdcr_alpha2
        return options.cdcr_lambda * penalty(found, same=same, others=others)


def _both(text: TextFeatures, video: VideoFeatures) -> tuple[Tokens, Tokens]:
    words, frames = at_least_fp32(text["words"]), at_least_fp32(video["frames"])
    return (
        Tokens(words, at_least_fp32(text["weights"]), text["mask"]),
        Tokens(frames, at_least_fp32(video["weights"]), video["mask"]),
    )


def _one(tokens: Tokens, noise: Noise, *, site: str) -> Tensor:
    """One real token of each item, drawn evenly: [n, D]."""
    drawn = noise.gumbel(tokens.mask.shape[1], site=site)
    chosen = drawn.masked_fill(tokens.mask == 0, -torch.inf).argmax(dim=1)
    return tokens.vectors[torch.arange(len(chosen), device=chosen.device), chosen]


def _weighing(width: int, *, layers: int) -> nn.Module:
    """A token's logit; of one layer the linear map itself, as the checkpoints name it."""
    if layers == 1:
        single = nn.Linear(width, 1)
        init_as_originals(single)
        return single
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), nn.ReLU()]
    stack = nn.Sequential(*parts, nn.Linear(width, 1))
    init_as_originals(stack)
    return stack
