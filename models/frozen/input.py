"""What a checkpoint that is used as it is wants to be given, said by its small files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.sampling.originals import evenly_to_both_ends
from reelvec.models.sampling.rules import Rule, pick_stored

__all__ = ["FrameCount", "Hearing", "OwnInput"]


@dataclass(frozen=True)
class Hearing:
    """What a model hears of a clip: samples a second, and seconds at most."""

    rate: int
    seconds: float


@dataclass(frozen=True)
class FrameCount:
    """How many frames a clip has for a family."""

    frames: int
    exact: bool
    """Neither fewer nor more; else at most so many."""
    to_both_ends: bool = False
    """An exact number is chosen from the first to the last frame, not by equal segments."""
    most: int | None = None
    """At most, where that is more than what is usual for the family, `frames`."""

    def picks(self, stored: int) -> npt.NDArray[np.int64]:
        """Positions among a clip's `stored` frames: i * stored // frames of an exact number.

        Where fewer are stored than an exact number, that repeats frames in place.
        """
        if not self.exact:
            return pick_stored(stored, self.frames)
        if self.to_both_ends:
            return evenly_to_both_ends(stored, count=self.frames)
        return np.arange(self.frames, dtype=np.int64) * stored // self.frames

    def check(self, shown: int) -> None:
        """Refuse another number.

        Raises:
            InputError: of frames that are not as many as the model takes.
        """
        most = self.most or self.frames
        if shown != self.frames if self.exact else not 1 <= shown <= most:
            how = "exactly" if self.exact else "1 to"
            raise InputError(
                f"a clip of {shown} frames: this model takes {how} {most}; pick them with"
                " its `frame_count.picks`"
            )

    def check_asked(self, asked: int) -> None:
        """Refuse a `model.max_frames` that the model does not take.

        Raises:
            OptionsError: with the number it takes.
        """
        most = self.most or self.frames
        if asked != self.frames if self.exact else asked > most:
            how = "exactly" if self.exact else "at most"
            raise OptionsError(
                f"model.max_frames ({asked}): these weights take {how} {most} frames of a"
                f" clip; set model.max_frames={self.frames}"
            )


@dataclass(frozen=True)
class OwnInput:
    """A model's own frames.

    Attributes:
        form: of a frame.
        frame_count: of a clip that is seen as a clip; None: frames are seen one by one.
        rule: how its authors choose them; None: they do not say.
        options: of the family frozen, written out so that they are part of a table's identity.
        hearing: what it hears of a clip; None: nothing.
    """

    form: FrameForm
    frame_count: FrameCount | None = None
    rule: Rule | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hearing: Hearing | None = None
