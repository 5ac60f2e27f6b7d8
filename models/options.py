"""A family's own options, and an original's settings in our words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["FamilyOptions", "OriginalSettings"]


class FamilyOptions(BaseModel):
    """A family's own options: frozen, unknown keys refused, one documented field each."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def sees_batch(self, *, training: bool) -> bool:
        """Whether a row's numbers depend on the rows it is encoded with, beyond rounding.

        By the legacy masks, where a family has them; in training also by statistics over a batch.
        """
        del training
        return getattr(self, "mask_layout", "fixed") == "legacy"

    @property
    def of_backbone(self) -> dict[str, Any]:
        """Those that change what the backbone gives, beside its weights and its columns."""
        return {}

    @property
    def draws_noise(self) -> bool:
        """Whether training draws noise (by row: see `models.noise`)."""
        return False


@dataclass(frozen=True)
class OriginalSettings:
    """An original system's settings in our words."""

    options: dict[str, Any] = field(default_factory=dict)
    """Options of our family."""
    max_words: int = 32
    """Tokens of a caption, start and end included."""
    max_frames: int = 12
    """Frames of a video."""
