"""CLIP2Video (Fang et al. 2021): temporal differences (TDB) and aligned centres (TAB).

Source: specs/clip4clip-clip2video.md 2, and 7.2 for the starting weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import CLIP_EPS, HEADER_EPS, LayerNorm, Transformer
from reelvec.models.clip2video.options import Clip2VideoOptions
from reelvec.models.costs import Macs, tower_macs, transformer_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import OriginalSettings
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily
from reelvec.models.temporal import copy_text_blocks, init_as_originals, key_mask, pool, unit
from reelvec.models.training.losses import Terms

__all__ = ["Clip2Video"]

_CENTRE_STD = 0.125


class Clip2Video(HeadFamily):
    """Columns: ``embedding``, and with TAB ``aligned``: two unit vectors on both sides."""

    options_class = Clip2VideoOptions

    def __init__(
        self,
        options: Clip2VideoOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(architecture=architecture, max_words=max_words, max_frames=max_frames)
        self.options = options
        self._check(options, architecture)
        width, heads = architecture.embed_dim, architecture.text_heads
        if options.center_type == "TAB":
            shape = (options.centerK, width)
            self.weight_center = nn.Parameter(torch.randn(shape) * _CENTRE_STD)
            self.emb_center = nn.Parameter(torch.randn(shape) * _CENTRE_STD)
        if options.projection == "sigmoid_mlp":
            self.frame2t_projection = nn.Parameter(torch.randn(width, width) * width**-0.5)
        if options.sim_type == "seqTransf":
            self.frame_position_embeddings = nn.Embedding(architecture.context_length, width)
            self.transformerClip = Transformer(
                width, layers=options.cross_num_hidden_layers, heads=heads, eps=HEADER_EPS
            )
        if options.projection == "sigmoid_selfA":
            self.frame2t_attention = Transformer(width, layers=1, heads=heads, eps=HEADER_EPS)
        if options.temporal_type == "TDB":
            self.type_position_embeddings = nn.Embedding(2, width)
        self.trans_layernorm = LayerNorm(width, eps=CLIP_EPS)
        if not options.projection:  # in every checkpoint, used by the projections alone
            self.trans_layernorm.requires_grad_(False)
        if options.augmentation:
            self.actionClip = Transformer(width, layers=1, heads=heads, eps=HEADER_EPS)
        for name, child in self.named_children():
            if name != "clip":
                init_as_originals(child)

    def _check(self, options: Clip2VideoOptions, sizes: Architecture) -> None:
        if options.sim_type == "seqTransf" and sizes.embed_dim != sizes.text_width:
            raise OptionsError(
                f"seqTransf is as wide as the text tower: embed_dim {sizes.embed_dim} must equal "
                f"text_width {sizes.text_width}; use meanP"
            )
        if options.temporal_type == "TDB" and self.max_frames < 2:
            raise OptionsError("max_frames 1: TDB takes differences, so at least 2 frames")
        if options.sim_type == "seqTransf" and self.max_frames > sizes.context_length:
            raise OptionsError(
                f"max_frames {self.max_frames}: there are {sizes.context_length} positions"
            )

    @torch.no_grad()
    def _init_headers_from_clip(self, clip: Mapping[str, Tensor]) -> None:
        """Start the headers from CLIP's text tower; only where sim_type is seqTransf."""
        if self.options.sim_type != "seqTransf":
            return
        self.frame_position_embeddings.weight.copy_(clip["positional_embedding"])
        copy_text_blocks(self.transformerClip, clip)
        if self.options.projection == "sigmoid_selfA":
            copy_text_blocks(self.frame2t_attention, clip)
        if self.options.projection == "sigmoid_mlp":
            rows = clip["visual.proj"][: len(self.frame2t_projection)]
            self.frame2t_projection[: len(rows)].copy_(rows)
        if self.options.temporal_type == "TDB":
            self.type_position_embeddings.weight.copy_(clip["positional_embedding"][:2])
        if self.options.augmentation:
            copy_text_blocks(self.actionClip, clip)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By ``trans_layernorm``, which every CLIP2Video checkpoint has and no other."""
        if "trans_layernorm.weight" not in state:
            return None
        names = {key.partition(".")[0] for key in state}
        tdb = "type_position_embeddings" in names
        projections = {"frame2t_projection": "sigmoid_mlp", "frame2t_attention": "sigmoid_selfA"}
        augmented = "TAB_TDB" if tdb else "TAB"  # shapes do not tell which; the recipe's
        options: dict[str, Any] = {
            "sim_type": "seqTransf" if "transformerClip" in names else "meanP",
            "temporal_type": "TDB" if tdb else "",
            "temporal_proj": next((v for k, v in projections.items() if k in names), ""),
            "center_type": "TAB" if "emb_center" in names else "",
            "center_proj": augmented if "actionClip" in names else "",
        }
        if "emb_center" in names:
            options["centerK"] = len(state["emb_center"])
        blocks = [k for k in state if k.startswith("transformerClip.") and k.endswith("ln_1.bias")]
        if blocks:
            options["cross_num_hidden_layers"] = len(blocks)
        return OriginalSettings(options=options)

    @property
    def idle_modules(self) -> tuple[str, ...]:
        """A projection without TDB, a block for TAB without TAB: asked for, and never used."""
        without_tdb = ("frame2t_attention", "frame2t_projection")
        return (
            *(without_tdb if self.options.temporal_type != "TDB" else ()),
            *(("actionClip",) if self.options.center_type != "TAB" else ()),
        )

    @property
    def text_columns(self) -> Columns:
        """One vector, two with TAB."""
        names = ["embedding", "aligned"] if self.options.center_type == "TAB" else ["embedding"]
        return {name: Column((self.architecture.embed_dim,)) for name in names}

    @property
    def video_columns(self) -> Columns:
        """One vector, two with TAB."""
        return self.text_columns

    @property
    def reads_words(self) -> bool:
        """With TAB."""
        return self.options.center_type == "TAB"

    @property
    def reads_padding(self) -> bool:
        """Padded frames must be equal to the last bit: sigmoid_mlp's norm magnifies rounding."""
        return True

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """``embedding`` [T, D] unit sentences; TAB: ``aligned`` [T, D] from all their tokens."""
        features = {"embedding": unit(given["sentence"])}
        if self.reads_words:
            words, tokens = given["words"], given["tokens"]
            tokens = tokens[:, : words.shape[1]]
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            ends = tokens == tokens.amax(dim=1, keepdim=True)
            last = (positions * ends).amax(dim=1, keepdim=True)  # captions may spell an end token
            real = (positions > 0) & (positions <= last)  # without the start token
            features["aligned"] = self._align(words, real)
        return TextFeatures(features)

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """``embedding`` [V, D] pooled frames; TAB: ``aligned`` [V, D]."""
        encoded, mask = given["frames"], given["mask"]
        features = {"embedding": pool(self._temporal(encoded, mask), mask)}
        if self.options.center_type == "TAB":
            tokens, seen = encoded, mask
            if self.options.augmentation:
                half, half_mask = encoded[:, 0::2], mask[:, 0::2]
                more = self._every_second(half, half_mask)
                tokens, seen = torch.cat([encoded, more], 1), torch.cat([mask, half_mask], 1)
            features["aligned"] = self._align(tokens, seen)
        return VideoFeatures(features)

    def macs(self) -> Macs:
        """Towers, temporal transformer, differences and centres."""
        count, width = self.max_frames, self.architecture.embed_dim
        towers = tower_macs(self.architecture, words=self.max_words, frames=count)
        text, video = towers.text, towers.video
        if self.options.sim_type == "seqTransf":
            video += self._over_time(count, layers=self.options.cross_num_hidden_layers)
        if self.options.center_type == "TAB":
            half = -(-count // 2) if self.options.augmentation else 0
            if half:
                plain = self.options.augmentation == "TAB"
                video += self._over_time(half, layers=1, differences=not plain)
            shares = 2 * self.options.centerK * width
            text, video = text + self.max_words * shares, video + (count + half) * shares
        return Macs(text, video)

    def _over_time(self, count: int, *, layers: int, differences: bool = True) -> int:
        """MACs of blocks over frames, with their differences between them where there are any."""
        width = self.architecture.embed_dim
        if self.options.temporal_type != "TDB" or not differences:
            return transformer_macs(width, layers=layers, tokens=count)
        between = count - 1
        project = {
            "sigmoid_mlp": between * width * width,
            "sigmoid_selfA": transformer_macs(width, layers=1, tokens=between),
        }
        blocks = transformer_macs(width, layers=layers, tokens=count + between)
        return blocks + project.get(self.options.projection, 0)

    def text_vectors(self, text: TextFeatures) -> Tensor:
        """Unit vectors [T, D], or [T, 2 D] with TAB: its weighted scores are one dot product."""
        return self._joined(text)

    def video_vectors(self, video: VideoFeatures) -> Tensor:
        """As `text_vectors`."""
        return self._joined(video)

    def score_terms(self, text: TextFeatures, video: VideoFeatures) -> Terms:
        """Global and aligned logits with their weights: the loss is weighted alike."""
        scale, weight = self.logit_scale.exp(), self.options.center_weight
        names = list(self.text_columns)
        weights = [weight, 1 - weight] if len(names) > 1 else [1.0]
        return [
            (w, scale * (text[name] @ video[name].T))
            for w, name in zip(weights, names, strict=True)
        ]

    def _joined(self, features: TextFeatures | VideoFeatures) -> Tensor:
        if self.options.center_type != "TAB":
            return features["embedding"]
        weight = self.options.center_weight
        parts = [weight**0.5 * features["embedding"], (1 - weight) ** 0.5 * features["aligned"]]
        return torch.cat(parts, dim=1)

    def _temporal(self, v: Tensor, mask: Tensor) -> Tensor:
        """Frames [V, F, D] after the temporal transformer, residual included."""
        if self.options.sim_type == "meanP":
            return v
        if self.options.temporal_type == "TDB":
            tokens, seen = self._with_differences(v, mask)
            return v + self._attend(self.transformerClip, tokens, seen)[:, 0::2]
        return v + self._attend(self.transformerClip, v + self._positions(v.shape[1]), mask)

    def _every_second(self, u: Tensor, mask: Tensor) -> Tensor:
        """Every second frame [V, ceil(F / 2), D] after its own block, residual included."""
        if self.options.augmentation == "TAB_TDB":
            tokens, seen = self._with_differences(u, mask)
            return u + self._attend(self.actionClip, tokens, seen)[:, 0::2]
        return u + self._attend(self.actionClip, u + self._positions(u.shape[1]), mask)

    def _with_differences(self, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and the differences between them, in turn: [V, 2F - 1, D] and their mask.

        A difference carries the position and mask of its *earlier* frame, though its projection
        uses the later one's: the token from the last real to the first padded frame is attended.
        """
        count = v.shape[1]
        of_difference, of_frame = self.type_position_embeddings.weight
        positions = self._positions(count)
        difference = self._project(v[:, 1:] - v[:, :-1], mask[:, 1:])
        tokens = v.new_empty(v.shape[0], 2 * count - 1, v.shape[2])
        tokens[:, 0::2] = v + positions + of_frame
        tokens[:, 1::2] = difference + positions[:-1] + of_difference
        return tokens, mask.repeat_interleave(2, dim=1)[:, :-1]

    def _project(self, difference: Tensor, mask: Tensor) -> Tensor:
        kind = self.options.projection
        if kind == "" or not difference.shape[1]:
            return difference
        if kind == "sigmoid_mlp":
            projected = difference @ self.frame2t_projection
        else:
            placed = difference + self._positions(difference.shape[1] + 1)[1:]
            projected = self._attend(self.frame2t_attention, placed, mask)
        normed: Tensor = self.trans_layernorm(projected)
        return 2 * torch.sigmoid(normed) - 1

    def _positions(self, count: int) -> Tensor:
        return self.frame_position_embeddings.weight[:count]

    def _attend(self, stack: Transformer, tokens: Tensor, mask: Tensor) -> Tensor:
        added = key_mask(
            mask, heads=stack.heads, dtype=tokens.dtype, layout=self.options.mask_layout
        )
        out: Tensor = stack(tokens, mask=added)
        return out

    def _align(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens [B, N, D] by their offsets from the shared centres: unit vectors [B, D]."""
        shares = torch.softmax(x @ self.weight_center.T, dim=2) * mask.to(x.dtype)[..., None]
        sums = shares.transpose(1, 2) @ x - shares.sum(dim=1)[..., None] * self.emb_center
        return unit(unit(sums).mean(dim=1))
