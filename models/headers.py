"""The four temporal headers of CLIP4Clip and X-CLIP (specs/clip4clip-clip2video.md 1.4).

Key names stand at the root of a checkpoint, so the headers are a base class, not a submodule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from reelvec.models.clip.architecture import MAX_LAYERS, Architecture
from reelvec.models.clip.blocks import HEADER_EPS, Transformer
from reelvec.models.costs import Macs, header_macs, tower_macs
from reelvec.models.cross import CrossEncoder
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.family import FamilyOptions
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily
from reelvec.models.noise import Noise
from reelvec.models.temporal import (
    HEADER_STD,
    copy_text_blocks,
    init_as_originals,
    key_mask,
)
from reelvec.models.training.losses import Terms

__all__ = ["HeaderFamily", "HeaderOptions", "header_options"]

Header = Literal["meanP", "seqLSTM", "seqTransf", "tightTransf"]

_PAIRS = 2048
"""Pairs of a text and a video the cross encoder scores at once: bounds its memory."""


def header_options(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], set[str]]:
    """The header options a checkpoint was trained with, and its keys beside towers and header."""
    marks: dict[Header, str] = {
        "tightTransf": "cross.",
        "seqTransf": "transformerClip.",
        "seqLSTM": "lstm_visual.",
    }
    kind: Header = "meanP"
    for header, mark in marks.items():
        if any(key.startswith(mark) for key in state):
            kind = header
            break
    layers = sum(
        key.startswith(("cross.transformer.", "transformerClip.")) and key.endswith("ln_1.bias")
        for key in state
    )
    known = ("clip.", "frame_position_embeddings.", "similarity_dense.", marks.get(kind, "clip."))
    options: dict[str, Any] = {
        "sim_header": kind,
        "linear_patch": "3d" if "clip.visual.conv2.weight" in state else "2d",
    }
    if layers:
        options["cross_num_hidden_layers"] = layers
    return options, {key for key in state if not key.startswith(known)}


class HeaderOptions(FamilyOptions):
    """Which of the eight variants of CLIP4Clip and X-CLIP."""

    sim_header: Header = "meanP"
    """How frames become a video: mean, LSTM, transformer, or a cross encoder for every pair."""
    linear_patch: Literal["2d", "3d"] = "2d"
    """3d: patches see the frames before and after."""
    cross_num_hidden_layers: int = Field(default=4, ge=1, le=MAX_LAYERS)
    """Blocks of seqTransf and tightTransf."""
    frame_position_std: float = Field(default=HEADER_STD, gt=0)
    """Spread of seqTransf's frame positions where they start at random. From scratch, frames differ
    by far more than 0.02, so their order is hardly seen; from a CLIP archive this is not used."""

    @property
    def draws_noise(self) -> bool:
        """The cross encoder's dropout."""
        return self.sim_header == "tightTransf"


class HeaderFamily(HeadFamily):
    """Towers and one of the four temporal headers of CLIP4Clip and X-CLIP.

    Attributes:
        header: which one.
    """

    options_class = HeaderOptions

    def __init__(
        self,
        options: HeaderOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        """Build towers and header with random weights.

        Raises:
            OptionsError: widths or lengths the header cannot take.
        """
        super().__init__(
            architecture=architecture,
            max_words=max_words,
            max_frames=max_frames,
            linear_patch=options.linear_patch,
        )
        self.options = options
        self.header = header = options.sim_header
        layers = options.cross_num_hidden_layers
        _check_header(header, architecture, max_frames)
        width, positions = architecture.embed_dim, architecture.context_length
        if header in ("seqLSTM", "seqTransf"):
            self.frame_position_embeddings = nn.Embedding(positions, width)
            init_as_originals(self.frame_position_embeddings)
        if header == "seqLSTM":  # its position table is in the checkpoints, but never used
            self.frame_position_embeddings.weight.requires_grad_(False)
            self.lstm_visual = nn.LSTM(width, width, batch_first=True)
        heads = width // architecture.head_dim
        if header == "seqTransf":
            self.transformerClip = Transformer(width, layers=layers, heads=heads, eps=HEADER_EPS)
            init_as_originals(self.transformerClip)
            spread = options.frame_position_std / HEADER_STD
            self.frame_position_embeddings.weight.data.mul_(spread)
        if header == "tightTransf":
            self.clip.logit_scale.requires_grad_(False)  # its logits carry no scale
            self.add_cross(heads=heads)

    def add_cross(self, *, heads: int) -> None:
        """The cross encoder, at random.

        Raises:
            OptionsError: widths or lengths it cannot take.
        """
        sizes = self.architecture
        _check_header("tightTransf", sizes, self.max_frames)
        self.cross = CrossEncoder(
            sizes.embed_dim,
            positions=sizes.context_length,
            layers=self.options.cross_num_hidden_layers,
            heads=heads,
        )
        self.similarity_dense = nn.Linear(sizes.embed_dim, 1)
        init_as_originals(self.cross)
        init_as_originals(self.similarity_dense)

    @torch.no_grad()
    def _init_headers_from_clip(self, clip: Mapping[str, Tensor]) -> None:
        """Position tables and blocks from CLIP's text tower, unless widths differ.

        Then they cannot fit, and the originals too leave the header at random.
        Source: specs/clip4clip-clip2video.md 7.2.
        """
        if self.architecture.embed_dim != self.architecture.text_width:
            return
        if self.header in ("seqLSTM", "seqTransf"):
            self.frame_position_embeddings.weight.copy_(clip["positional_embedding"])
        if self.header == "seqTransf":
            copy_text_blocks(self.transformerClip, clip)
        if hasattr(self, "cross"):
            table = self.cross.embeddings.position_embeddings.weight
            table.copy_(clip["positional_embedding"])
            copy_text_blocks(self.cross.transformer, clip)

    def temporal(self, frame_features: Tensor, mask: Tensor, *, padded: bool = False) -> Tensor:
        """Frame features [V, F, D] after the header, residual included; meanP: as they are.

        Past a video's end the result means nothing and must be masked, as `pool` does: what costs
        most is done for real frames only, unless seqTransf's `padded` ones are asked for.
        """
        if self.header == "seqLSTM":
            # causal, so the valid prefix needs no packing; the originals' packing changes only
            # what stands past the end
            recurrent: Tensor = self.lstm_visual(frame_features)[0]
            return frame_features + recurrent
        if self.header == "seqTransf":
            positions = self.frame_position_embeddings.weight[: frame_features.shape[1]]
            added = key_mask(mask, heads=self.transformerClip.heads, dtype=frame_features.dtype)
            real = mask.to(torch.bool) | padded
            return frame_features + self.transformerClip.of_real(
                frame_features + positions, real, mask=added
            )
        return frame_features

    def macs(self) -> Macs:
        """Towers and header; what a cross encoder does for every pair is no part of it."""
        sizes, frames, options = self.architecture, self.max_frames, self.options
        patch, layers = options.linear_patch, options.cross_num_hidden_layers
        towers = tower_macs(sizes, words=self.max_words, frames=frames, linear_patch=patch)
        return towers + header_macs(self.header, sizes.embed_dim, layers=layers, frames=frames)

    def training_terms(self, text: TextFeatures, video: VideoFeatures, *, noise: Noise) -> Terms:
        """`score_terms`, with the cross encoder's dropout."""
        if self.header != "tightTransf":
            return self.score_terms(text, video)
        logits = self.cross_score(text["sentence"], video["frames"], video["mask"], noise=noise)
        return [(1.0, logits)]

    def cross_score(
        self,
        sentence: Tensor,
        frame_features: Tensor,
        mask: Tensor,
        *,
        noise: Noise | None = None,
    ) -> Tensor:
        """Logits [T, V] of tightTransf: sentences [T, D] with frames [V, F, D], mask [V, F].

        One forward pass a pair, in slices of texts and videos that bound the memory. `noise`
        [T, V]: of training.
        """
        if frame_features.shape[1] >= self.architecture.context_length:
            raise InputError(
                f"{frame_features.shape[1]} frames: the cross encoder has "
                f"{self.architecture.context_length} positions, one of them the sentence's"
            )
        wide = min(len(frame_features), _PAIRS) or 1
        tall = max(_PAIRS // wide, 1)
        blocks = []
        for top in range(0, len(sentence) or 1, tall):  # of no rows one empty block
            rows = slice(top, top + tall)
            row = []
            for left in range(0, len(frame_features) or 1, wide):
                columns = slice(left, left + wide)
                drawn = None if noise is None else noise[rows, columns]
                row.append(
                    self._cross_block(sentence[rows], frame_features[columns], mask[columns], drawn)
                )
            blocks.append(torch.cat(row, dim=1))
        return torch.cat(blocks)

    def _cross_block(
        self, sentence: Tensor, frame_features: Tensor, mask: Tensor, noise: Noise | None
    ) -> Tensor:
        texts, videos, count = len(sentence), len(frame_features), frame_features.shape[1]
        first = sentence[:, None, None, :].expand(-1, videos, -1, -1)
        rest = frame_features[None].expand(texts, -1, -1, -1)
        tokens = torch.cat([first, rest], dim=2).flatten(0, 1)
        seen = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        seen = seen[None].expand(texts, -1, -1).reshape(-1, count + 1)
        drawn = None if noise is None else noise.flat()
        score: Tensor = self.similarity_dense(self.cross(tokens, seen, noise=drawn))
        return score.view(texts, videos)


def _check_header(header: Header, sizes: Architecture, max_frames: int) -> None:
    if header == "seqTransf" and sizes.embed_dim != sizes.text_width:
        raise OptionsError(
            f"header {header} is as wide as the text tower: embed_dim {sizes.embed_dim} must equal "
            f"text_width {sizes.text_width}; use another header"
        )
    if header == "tightTransf" and sizes.embed_dim % sizes.head_dim:
        raise OptionsError(
            f"header {header}: embed_dim {sizes.embed_dim} must be a multiple of "
            f"head_dim {sizes.head_dim}"
        )
    room = {"seqTransf": sizes.context_length, "tightTransf": sizes.context_length - 1}
    if max_frames > room.get(header, max_frames):
        raise OptionsError(
            f"max_frames {max_frames}: header {header} has positions for {room[header]} frames"
        )
