"""Clips in memory, as the encoder takes frames from a store."""

import numpy as np


class Clips:
    """uint8 [T, S, S, 3] by key (`storage.frames.contract.FrameSource`)."""

    def __init__(self, of):
        self.of = of

    def ahead(self, keys):
        """They are here."""

    def lengths(self, keys):
        return np.array([len(self.of[key]) for key in keys])

    def gather(self, keys, *, picks, out):
        for row, (key, chosen) in enumerate(zip(keys, picks, strict=True)):
            out[row, : len(chosen)] = self.of[key][chosen]
