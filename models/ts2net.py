"""TS2-Net (Liu et al. 2022): patches are shifted between frames, and a few are kept of each.

Written from specs/more-heads.md 5 alone (the original's code has no licence).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, header_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import OriginalSettings, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frame_bounds import HighestFrame
from reelvec.models.headers import header_options
from reelvec.models.temporal import unit
from reelvec.models.tokens.family import TokenFamily, TokenOptions, shifted_blocks

__all__ = ["Ts2Net"]

_DEAD = ("text_token_selector", "visual_prompt_encoder")
_CHOOSING = "visual_token_selector."
_SHARPNESS = 4.0
_NEVER = -1e18


class Ts2NetOptions(TokenOptions):
    """Shift, selection, and the layout of masks (specs/more-heads.md 5)."""

    mask_layout: Literal["fixed", "legacy"] = "fixed"
    """legacy: the mask of frames is laid end to end over the tokens, as released, so that a frame
    is masked as another one is."""

    @model_validator(mode="after")
    def _uses_patches(self) -> Self:
        if self.sim_header == "meanP":
            raise ValueError("under meanP no patch reaches a frame; use seqTransf or seqLSTM")
        if self.mask_layout == "legacy" and self.sim_header != "seqTransf":
            raise ValueError("mask_layout legacy is of the released seqTransf; use fixed")
        return self

    def sees_batch(self, *, training: bool) -> bool:
        """False: its legacy mask mixes up frames, not videos."""
        del training
        return False


class Ts2Net(TokenFamily, Bounded):
    """Columns: unit `sentence`; unit `frames` after the header, and the `mask` they have."""

    options_class = Ts2NetOptions
    options: Ts2NetOptions

    def __init__(
        self,
        options: Ts2NetOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        room = architecture.context_length
        if self.header == "seqTransf" and self.kept * max_frames > room:
            raise OptionsError(
                f"max_frames {max_frames} with {self.kept} tokens each: there are positions for"
                f" {room} tokens; set at most {room // self.kept} frames"
            )

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By the selector of patches; a bare state dict is taken for one of the released code."""
        options, rest = header_options(state)
        rest = {key for key in rest if not key.startswith(tuple(f"{name}." for name in _DEAD))}
        if not rest or not all(key.startswith(_CHOOSING) for key in rest):
            return None
        if options["sim_header"] == "seqTransf":
            options["mask_layout"] = "legacy"
        return OriginalSettings(options=options | {"shift_layers": shifted_blocks(state)})

    @property
    def idle_modules(self) -> tuple[str, ...]:
        """A selector of words and a prompt encoder, which nothing uses."""
        return _DEAD

    @property
    def is_dot_product(self) -> bool:
        """False."""
        return False

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"sentence": Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """Frames and their mask."""
        return {
            "frames": Column((self.max_frames, self.architecture.embed_dim)),
            "mask": Column((self.max_frames,), kind="integer"),
        }

    def macs(self) -> Macs:
        """Towers, selection, and the header over all kept tokens."""
        layers, tokens = self.options.cross_num_hidden_layers, self.kept * self.max_frames
        width = self.architecture.embed_dim
        return self.token_macs() + header_macs(self.header, width, layers=layers, frames=tokens)

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """`sentence` [T, D], unit."""
        return TextFeatures({"sentence": unit(given["sentence"])})

    def video_head(self, given: VideoFeatures, **noise: Tensor) -> VideoFeatures:
        """`frames` [V, F, D], unit, zeros where the `mask` [V, F] they are seen by is 0."""
        tokens, mask = given["tokens"], given["mask"]
        kept = self.selected(tokens, noise.get("selection_noise")).flatten(1, 2)
        if self.options.mask_layout == "legacy":
            by_token = mask.repeat(1, self.kept)
        else:
            by_token = mask.repeat_interleave(self.kept, dim=1)
        frames = self.temporal(kept, by_token)[:, :: self.kept]
        seen = by_token[:, :: self.kept]
        return VideoFeatures(
            {"frames": unit(frames).masked_fill(seen[..., None] == 0, 0.0), "mask": seen}
        )

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]: frames weighed by how near the sentence they are.

        Source: specs/more-heads.md 5.5.
        """
        sentence, frames = at_least_fp32(text["sentence"]), at_least_fp32(video["frames"])
        near = (sentence @ frames.flatten(0, 1).T).view(len(sentence), *frames.shape[:2])
        masked = video["mask"] == 0
        near = near.masked_fill(masked, 0.0)
        length = torch.linalg.vector_norm(near, dim=2, keepdim=True)
        relative = (near / length).masked_fill(masked, _NEVER)
        weights = torch.softmax(_SHARPNESS * relative, dim=2)
        return self.logit_scale.exp() * (weights * near).sum(dim=2)

    def score_bound(self) -> HighestFrame:
        """The frame that is nearest (specs/more-heads.md 5.7)."""
        return HighestFrame(self, text="sentence")

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Softmax over real frames of the plain cosine (specs/more-heads.md 4.4)."""
        near = (video["frames"] @ text["sentence"][..., None]).squeeze(2)
        return torch.softmax(near.masked_fill(video["mask"] == 0, _NEVER), dim=1)
