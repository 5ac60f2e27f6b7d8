"""Clips in memory, as the encoder takes frames from a store."""

import dataclasses

import numpy as np


class HeldClips:
    """Clips by their keys, for `encode_videos` of models that see a clip as a clip."""

    def __init__(self, clips):
        self.clips = dict(clips)

    def lengths(self, keys):
        return np.array([len(self.clips[key].frames) for key in keys])

    def picture(self, key):
        return self.clips[key].picture

    def clip(self, key, picks):
        whole = self.clips[key]
        names = ("frames", "pts_seconds", "frame_index")
        return dataclasses.replace(whole, **{name: getattr(whole, name)[picks] for name in names})
