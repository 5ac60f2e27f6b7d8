"""AdaCLIP (Hu et al. 2023): a policy keeps K of N frames, a small network weighs them.

Written from specs/xclip-adaclip.md B alone (the original's code is CC BY-NC). In evaluation
the policy scores first and CLIP sees the K kept frames only; the original encodes all N frames and
then drops N - K of them, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from reelvec.models.adaclip.choosing import ChoosingFamily
from reelvec.models.adaclip.mobilenet import IMAGENET_MEAN, IMAGENET_STD, NETWORKS
from reelvec.models.adaclip.options import AdaClipOptions, read_config, read_shapes
from reelvec.models.adaclip.policy import (
    FramePolicy,
    annealed_k,
    centre_frames,
    grey_frames,
    temperature,
)
from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import HEADER_EPS, Transformer
from reelvec.models.clip.preprocess import normalise
from reelvec.models.errors import OptionsError
from reelvec.models.family import OriginalSettings
from reelvec.models.features import Column, Columns
from reelvec.models.temporal import copy_text_blocks, init_as_originals

__all__ = ["AdaClip"]

_HEADER_LAYERS = 4
_FIFTH = 4  # header transformer starts from CLIP's text block 4


class AdaClip(ChoosingFamily):
    """Columns: ``embedding`` on both sides; qscore: ``frames`` [K, D] for a video.

    With a policy also ``selected`` [K]: which of the given frames were kept, best first.

    Attributes:
        temperature: Of the relaxed choice in training; `start_epoch` sets it.
        generator: Draws the Gumbel noise of training where none is given; None: torch's default.
    """

    options_class = AdaClipOptions

    def __init__(
        self,
        options: AdaClipOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        self.generator: torch.Generator | None = None
        options.check(max_frames=max_frames, head_dim=architecture.head_dim)
        self.kept = options.top_k if self.has_policy else max_frames
        self.start_epoch(0)
        if options.policy != "none":
            self.sampler = FramePolicy(
                backbone=options.policy,
                features=(
                    architecture.embed_dim if options.policy == "clip" else options.rescale_size**2
                ),
                rnn=options.rnn,
                mlp=options.mlp_type == "mlp",
                hidden=options.hidden_dim,
                mlp_hidden=options.mlp_hidden_dim,
                n_frames=max_frames,
                head_dim=architecture.head_dim,
            )
        self._add_header()
        self.add_weights()
        for name, child in self.named_children():
            if name != "clip":
                init_as_originals(child)
        self._freeze()

    def _freeze(self) -> None:
        options = self.options
        if options.frame_agg != "none":  # word weights then have no use, as in the original
            for name, parameter in self.named_parameters():
                if name.startswith("word_agg"):
                    parameter.requires_grad_(False)
        if options.freeze_cnn and self._network is not None:
            self._network.requires_grad_(False)
        if options.freeze_clip:
            self.clip.requires_grad_(False)
            if not any(parameter.requires_grad for parameter in self.parameters()):
                raise OptionsError(
                    "freeze_clip leaves nothing to train: set a policy, a header or frame_agg"
                )

    def _add_header(self) -> None:
        sizes, width = self.architecture, self.architecture.embed_dim
        heads = width // sizes.head_dim
        header = self.options.sim_header
        if header == "meanP":
            return
        rows = sizes.context_length if header == "seqTransf" else self.kept
        if self.kept > rows:
            raise OptionsError(f"header seqTransf has {rows} positions for {self.kept} frames")
        self.frame_position_embeddings = nn.Embedding(rows, width)
        if header == "seqTransf":
            self.transformerClip = Transformer(
                width, layers=_HEADER_LAYERS, heads=heads, eps=HEADER_EPS
            )
        else:
            self.transformer = Transformer(width, layers=1, heads=heads)

    @torch.no_grad()
    def _init_headers_from_clip(self, clip: Mapping[str, Tensor]) -> None:
        """Header blocks from CLIP's text tower; policy and aggregation stay random.

        Source: specs/xclip-adaclip.md B1.5.
        """
        if self.options.sim_header == "seqTransf":
            self.frame_position_embeddings.weight.copy_(clip["positional_embedding"])
            copy_text_blocks(self.transformerClip, clip)
        if self.options.sim_header == "transformer":
            copy_text_blocks(self.transformer, clip, first=_FIFTH)

    @classmethod
    def original_settings(cls, given: Mapping[str, Any]) -> OriginalSettings:
        """Our settings from AdaCLIP's own configuration."""
        return read_config(given)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """Settings read from a checkpoint's keys and shapes."""
        return read_shapes(state)

    def start_policy(self, published: Mapping[str, Tensor]) -> None:
        """The policy's MobileNet from torchvision's ImageNet weights.

        Raises:
            OptionsError, WeightsError: a policy without one; tensors that do not fit.
        """
        if self._network is None:
            raise OptionsError(
                f"policy {self.options.policy} has no use for ImageNet weights: set policy to one"
                f" of {', '.join(NETWORKS)}, or leave model.policy_weights out"
            )
        self._network.load_published(published)

    @property
    def video_columns(self) -> Columns:
        """One vector, or frames; with a policy the kept frames' indices."""
        width = self.architecture.embed_dim
        columns = {"embedding": Column((width,))}
        if not self.is_dot_product:
            columns = {"frames": Column((self.kept, width))}
        if self.has_policy:
            columns["selected"] = Column((self.kept,), kind="integer")
        return columns

    def start_epoch(self, epoch: int) -> None:
        """Set temperature and number of kept frames for a training epoch (from 0)."""
        options = self.options
        self.temperature = temperature(
            epoch,
            initial=options.temperature,
            decay=options.temperature_decay,
            least=options.temperature_least,
        )
        anneal = options.warmup_epochs if self.has_policy else 0
        self.training_k = int(
            annealed_k(epoch, n_frames=self.max_frames, top_k=self.kept, warmup_epochs=anneal)
        )

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen MobileNet keeps its statistics unless ``batch_norm`` is legacy."""
        super().train(mode)
        options = self.options
        if options.freeze_cnn and options.batch_norm == "fixed" and self._network is not None:
            self._network.eval()
        return self

    def prepare(self, frames: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Inputs of `encode_video`; for policies that look at pixels also ``policy_frames``.

        raw: grey [V, F, 1, r, r] in [0, 1] of the stored frame, where the original squeezes the
        whole frame. MobileNet: [V, F, 3, S, S] with ImageNet's mean and std, of the stored frame or
        its centre. What differs is measured in docs/fidelity.md.
        """
        given = super().prepare(frames, mask)
        if self.options.policy == "raw":
            given["policy_frames"] = grey_frames(frames, size=self.options.rescale_size)
        if self.options.has_network:
            seen = centre_frames(frames) if self.options.policy_view == "centre" else frames
            given["policy_frames"] = normalise(seen, mask, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return given

    def after_header(self, x: Tensor) -> Tensor:
        if self.options.sim_header == "meanP":
            return x
        placed = x + self.frame_position_embeddings.weight[: x.shape[1]]
        if self.options.sim_header == "seqTransf":
            attended: Tensor = self.transformerClip(placed)
            return x + attended
        out: Tensor = self.transformer(placed)
        return out
