"""CLIP4Clip (Luo et al. 2022): a CLIP, a temporal header, a mean over frames.

Source: specs/clip4clip-clip2video.md 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from reelvec.models.family import OriginalSettings
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.headers import HeaderFamily, header_options
from reelvec.models.temporal import frame_weights, pool, unit

__all__ = ["Clip4Clip"]


class Clip4Clip(HeaderFamily):
    """Columns: `embedding` on both sides; tightTransf: `sentence`, and `frames` with `mask`."""

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """Any checkpoint whose keys are towers and one header, nothing else."""
        options, rest = header_options(state)
        return None if rest else OriginalSettings(options=options)

    @property
    def is_dot_product(self) -> bool:
        """True, except for tightTransf."""
        return self.header != "tightTransf"

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        name = "embedding" if self.is_dot_product else "sentence"
        return {name: Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """One vector, or frames and mask."""
        width = self.architecture.embed_dim
        if self.is_dot_product:
            return {"embedding": Column((width,))}
        return {
            "frames": Column((self.max_frames, width)),
            "mask": Column((self.max_frames,), kind="integer"),
        }

    @property
    def reads_padding(self) -> bool:
        """tightTransf, whose columns hold them."""
        return not self.is_dot_product

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """`embedding` [T, D], unit; tightTransf: `sentence` [T, D] as it is."""
        if self.is_dot_product:
            return TextFeatures({"embedding": unit(given["sentence"])})
        return given

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """`embedding` [V, D], unit; tightTransf: `frames` [V, F, D] and `mask` [V, F]."""
        frames, mask = given["frames"], given["mask"]
        if self.is_dot_product:
            return VideoFeatures({"embedding": pool(self.temporal(frames, mask), mask)})
        self.check_frames(frames, why="tightTransf keeps")
        return given

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor | None:
        """tightTransf: as X-CLIP's, of the frames that go into the cross encoder."""
        if self.is_dot_product:
            return None
        return frame_weights(text["sentence"], video["frames"])

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]; tightTransf's carry neither norm nor scale."""
        if self.is_dot_product:
            return super().similarity(text, video)
        return self.cross_score(text["sentence"], video["frames"], video["mask"])
