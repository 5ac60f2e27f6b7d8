"""CLIP2Video's options, and which of them go together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from reelvec.models.clip.architecture import MAX_LAYERS
from reelvec.models.family import FamilyOptions
from reelvec.models.temporal import MaskLayout

__all__ = ["Clip2VideoOptions"]


class Clip2VideoOptions(FamilyOptions):
    """Which variant; the published one is seqTransf, TDB, sigmoid_selfA, TAB, TAB_TDB, K 5."""

    sim_type: Literal["meanP", "seqTransf"] = "seqTransf"
    """How frames become a video: mean, or transformer."""
    temporal_type: Literal["", "TDB"] = "TDB"
    """TDB: tokens of differences stand between the frames."""
    temporal_proj: Literal["", "sigmoid_mlp", "sigmoid_selfA"] = "sigmoid_selfA"
    """What a difference goes through."""
    center_type: Literal["", "TAB"] = "TAB"
    """TAB: words and frames are also compared by how they lie around shared centres."""
    center_proj: Literal["", "TAB", "TAB_TDB"] = "TAB_TDB"
    """Adds every second frame, after a block, to the frames that TAB sees."""
    centerK: int = Field(default=5, ge=1)
    """Centres."""
    center_weight: float = Field(default=0.5, ge=0, le=1)
    """Weight of the global score, and of its loss; TAB has the rest."""
    cross_num_hidden_layers: int = Field(default=4, ge=1, le=MAX_LAYERS)
    """Blocks of seqTransf."""
    mask_layout: MaskLayout = "fixed"
    """legacy: heads see other videos' masks, as released; a score then depends on the batch."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.temporal_type == "TDB" and self.sim_type != "seqTransf":
            raise ValueError("temporal_type TDB needs sim_type seqTransf")
        if self.center_proj == "TAB_TDB" and self.temporal_type != "TDB" and self.center_type:
            raise ValueError("center_proj TAB_TDB needs temporal_type TDB (its type embedding)")
        if self.center_proj and self.center_type and self.sim_type != "seqTransf":
            raise ValueError("center_proj needs sim_type seqTransf (its position table)")
        return self

    @property
    def projection(self) -> str:
        """The projection of differences that is in use."""
        return self.temporal_proj if self.temporal_type == "TDB" else ""

    @property
    def augmentation(self) -> str:
        """What adds frames for TAB."""
        return self.center_proj if self.center_type == "TAB" else ""
