"""What TS2-Net and UCoFiA share: shifted tokens, of which each frame keeps a few.

Source: specs/more-heads.md 5.1 to 5.3. Written from it alone (TS2-Net's code has no licence).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, text_macs, transformer_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import at_least_fp32
from reelvec.models.features import Column, Columns, VideoFeatures
from reelvec.models.headers import HeaderFamily, HeaderOptions
from reelvec.models.noise import Noise, StepNoise
from reelvec.models.shapes import check_shape
from reelvec.models.temporal import init_as_originals
from reelvec.models.tokens.selection import TokenSelector, hard_indicators, perturbed_indicators
from reelvec.models.tokens.shift import SHIFTED, add_shift, to_shifted

__all__ = ["TokenFamily", "TokenOptions", "shifted_blocks"]

_SITE = "selection"


class TokenOptions(HeaderOptions):
    """Shift and selection (specs/more-heads.md 5.1 and 5.3)."""

    sim_header: Literal["meanP", "seqLSTM", "seqTransf", "tightTransf"] = "seqTransf"
    """What tokens go through in time; no tightTransf."""
    shift_layers: tuple[int, ...] = (10, 11)
    """Blocks of the vision tower, from 0, in which some patches see the frames beside theirs."""
    n_div: int = Field(default=7, ge=1)
    """Of so many patches one sees the frame before, and one the frame after."""
    topk: int = Field(default=3, ge=1)
    """Patches kept of each frame."""
    num_samples: int = Field(default=500, ge=1)
    """Draws of noise over which the choice is smoothed."""
    sigma: float = Field(default=0.05, gt=0)
    """Spread of that noise."""
    selection: Literal["sampled", "hard"] = "sampled"
    """In evaluation. sampled: smoothed as in training, by noise that is always the same; hard: the
    best patches, without noise. The original draws its noise anew for every score."""

    @property
    def draws_noise(self) -> bool:
        """That of the selection."""
        return True

    @property
    def of_backbone(self) -> dict[str, Any]:
        """The shift."""
        return {"shift_layers": list(self.shift_layers), "n_div": self.n_div}

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.sim_header == "tightTransf":
            raise ValueError("tightTransf has no place for patches; give sim_header another value")
        return self


def shifted_blocks(state: Mapping[str, Tensor]) -> list[int]:
    """Numbers of a checkpoint's shifted blocks."""
    numbers = {int(key.split(".")[4]) for key in state if SHIFTED in key and _of_block(key)}
    return sorted(numbers)


def _of_block(key: str) -> bool:
    parts = key.split(".")
    return key.startswith("clip.visual.transformer.resblocks.") and parts[4].isdecimal()


class TokenFamily(HeaderFamily):
    """Towers whose frames see each other, and a choice among their patches."""

    options_class = TokenOptions
    options: TokenOptions

    def __init__(
        self,
        options: TokenOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
        by_video: bool = False,
    ) -> None:
        """Build everything with random weights.

        Raises:
            OptionsError: sizes that shift or selection cannot take.
        """
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        patches = architecture.grid**2
        shifts = any(number < architecture.vision_layers for number in options.shift_layers)
        if shifts and patches + 1 < options.n_div:
            raise OptionsError(
                f"n_div {options.n_div} asks for as many tokens, and a frame has {patches + 1}: set"
                " a smaller n_div, or shift_layers to []"
            )
        if options.topk > patches:
            raise OptionsError(f"topk {options.topk}: a frame has {patches} patches; set fewer")
        add_shift(
            self.clip.visual,
            blocks=options.shift_layers,
            frames=max_frames,
            n_div=options.n_div,
        )
        self.visual_token_selector = TokenSelector(architecture.embed_dim, by_video=by_video)
        init_as_originals(self.visual_token_selector)
        self.kept = 1 + options.topk

    def init_from_clip(self, state: Mapping[str, Tensor], *, lent: bool = False) -> None:
        """As of any family; shifted blocks take the tensors of CLIP's."""
        super().init_from_clip(to_shifted(state, blocks=self.options.shift_layers), lent=lent)

    @property
    def backbone_video_columns(self) -> Columns:
        """The tensors of `video_backbone`: `tokens` [F, 1 + P, D] and `mask` [F]."""
        sizes = self.architecture
        return {
            "tokens": Column((self.max_frames, 1 + sizes.grid**2, sizes.embed_dim)),
            "mask": Column((self.max_frames,), kind="integer"),
        }

    def video_backbone(self, frames: Tensor, mask: Tensor, **_: Any) -> VideoFeatures:
        """All tokens of all frames, padded ones too: frames see each other.

        Raises:
            InputError: another number of frames than max_frames.
        """
        self.check_frames(frames, why="a shift between frames is built for")
        check_shape("frames", frames, ("V", "F", 3, self.image_size, self.image_size))
        tokens = at_least_fp32(self.clip.visual.tokens(frames))
        return VideoFeatures({"tokens": tokens, "mask": mask})

    def encode_video(
        self, frames: Tensor, mask: Tensor, *, selection_noise: Tensor | None = None, **_: Any
    ) -> VideoFeatures:
        """Features of videos; `selection_noise` [V, F, S, P] replaces the one of evaluation."""
        noise = {} if selection_noise is None else {"selection_noise": selection_noise}
        return self.video_head(self.video_backbone(frames, mask), **noise)

    def video_noise(self, noise: Noise) -> dict[str, Tensor]:
        """Of the selection, [V, F, S, P], fp32."""
        return {"selection_noise": self._drawn(noise, frames=self.max_frames)}

    def selected(self, tokens: Tensor, selection_noise: Tensor | None = None) -> Tensor:
        """Each frame's class token and chosen patches, [V, F, 1 + k, D] of [V, F, 1 + P, D]."""
        options, scores = self.options, at_least_fp32(self.visual_token_selector(tokens))
        if selection_noise is None and options.selection == "hard" and not self.training:
            indicators = hard_indicators(scores, k=options.topk)
        else:
            if selection_noise is None:
                always = StepNoise(0, 0).of_rows(torch.zeros(1, dtype=torch.int64))
                selection_noise = self._drawn(always, frames=1)[0, 0].to(scores.device)
            indicators = perturbed_indicators(
                scores, selection_noise, k=options.topk, sigma=options.sigma
            )
        return torch.cat([tokens[:, :, :1], indicators @ tokens[:, :, 1:]], dim=2)

    def _drawn(self, noise: Noise, *, frames: int) -> Tensor:
        """Row by row, since what is drawn in double precision is large: [n, frames, S, P]."""
        shape = (frames, self.options.num_samples, self.architecture.grid**2)
        numbers = frames * shape[1] * shape[2]
        rows = [noise[i : i + 1].normal(numbers, site=_SITE) for i in range(len(noise.keys))]
        return torch.cat(rows).float().view(-1, *shape)

    def token_macs(self, *, by_video: bool = False) -> Macs:
        """Towers, of which every token is projected, and the choice."""
        sizes, frames = self.architecture, self.max_frames
        width, patches, seen = sizes.embed_dim, sizes.grid**2, 2 if by_video else 1
        slices = 3 if self.options.linear_patch == "3d" else 1
        tower = patches * slices * 3 * sizes.patch_size**2 * sizes.vision_width
        tower += transformer_macs(
            sizes.vision_width, layers=sizes.vision_layers, tokens=patches + 1
        )
        tower += (patches + 1) * sizes.vision_width * width
        inner = seen * width // 2
        choice = (patches + 1) * seen * width * inner + patches * (2 * inner * inner + inner)
        choice += self.options.topk * patches * width
        return Macs(text_macs(sizes, words=self.max_words), frames * (tower + choice))
