"""TeachCLIP's student (Tian et al. 2024): CLIP4Clip whose frames are weighed, taught by others.

One vector a video, as CLIP4Clip; its frame weights are taught by models that compare every frame
with every query. Written from specs/more-heads.md 4 alone (the original's code has no licence).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs
from reelvec.models.family import OriginalSettings
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.headers import HeaderFamily, HeaderOptions, header_options
from reelvec.models.temporal import init_as_originals, unit

__all__ = ["TeachClip"]

_WEIGHING = ("frameLinear.", "frameLinear2.")


class TeachClipOptions(HeaderOptions):
    """Header and frame weights (specs/more-heads.md 4.1 and 4.2)."""

    sim_header: Literal["meanP", "seqLSTM", "seqTransf", "tightTransf"] = "seqTransf"
    """What frames go through before they are weighed; no tightTransf: a video is one vector."""
    frame_temperature: float = Field(default=0.1, gt=0)
    """Divides the logits of frame weights where frames become a video."""
    weight_mask: Literal["fixed", "legacy"] = "fixed"
    """legacy: padded frames take their share of the weights, as released (seqTransf alone)."""

    @model_validator(mode="after")
    def _one_vector(self) -> Self:
        if self.sim_header == "tightTransf":
            raise ValueError("tightTransf gives a video no vector; use seqTransf, seqLSTM or meanP")
        if self.weight_mask == "legacy" and self.sim_header != "seqTransf":
            raise ValueError("weight_mask legacy is of the released seqTransf; use fixed")
        return self


class TeachClip(HeaderFamily):
    """Columns: ``embedding`` on both sides; for a video also ``frame_weights`` [F], sums 1."""

    options_class = TeachClipOptions
    rate_factors = MappingProxyType(dict.fromkeys(_WEIGHING, 10.0))

    def __init__(
        self,
        options: TeachClipOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        self._temperature = options.frame_temperature
        self._is_legacy = options.weight_mask == "legacy"
        width = architecture.embed_dim
        self.frameLinear = nn.Linear(width, width)
        self.frameLinear2 = nn.Linear(width, 1)
        init_as_originals(self.frameLinear)
        init_as_originals(self.frameLinear2)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By ``frameLinear``; weights that tell nothing more are the released code's: legacy."""
        options, rest = header_options(state)
        if not rest or not all(key.startswith(_WEIGHING) for key in rest):
            return None
        if options["sim_header"] == "seqTransf":
            options["weight_mask"] = "legacy"
        return OriginalSettings(options=options)

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """One vector, and how much each frame counts."""
        width = self.architecture.embed_dim
        return {"embedding": Column((width,)), "frame_weights": Column((self.max_frames,))}

    def macs(self) -> Macs:
        """Towers, header, and the weights of frames with the sum they make."""
        width = self.architecture.embed_dim
        return super().macs() + Macs(0, self.max_frames * (width * width + 2 * width))

    @property
    def reads_padding(self) -> bool:
        """As released."""
        return self._is_legacy

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """``embedding`` [T, D], unit."""
        return TextFeatures({"embedding": unit(given["sentence"])})

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """``embedding`` [V, D], unit; ``frame_weights`` [V, F] as they are taught.

        The vector is made with sharper weights (`frame_temperature`); both are 0 at padded frames,
        but for the legacy mask.

        Raises:
            InputError: another number of frames than max_frames.
        """
        frames, mask = given["frames"], given["mask"]
        self.check_frames(frames, why="the table of frame weights has")
        encoded = self._after_header(frames, mask)
        scores = self.frameLinear2(torch.relu(self.frameLinear(encoded))).squeeze(2)
        if not self._is_legacy:
            scores = scores.masked_fill(mask == 0, -torch.inf)
            encoded = encoded.masked_fill(mask[..., None] == 0, 1.0)  # of any length but zero
        sharp = torch.softmax(scores / self._temperature, dim=1)
        return VideoFeatures(
            {
                "embedding": unit((sharp[:, None, :] @ unit(encoded)).squeeze(1)),
                "frame_weights": torch.softmax(scores, dim=1),
            }
        )

    def _after_header(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """Frames [V, F, D] after the header; padded ones count in legacy mode alone."""
        if not self._is_legacy:
            return self.temporal(encoded, mask)
        return self.temporal(encoded, mask, padded=True)
