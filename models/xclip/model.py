"""X-CLIP (Ma et al. 2022, video-text retrieval; not Microsoft's model of that name).

Sentences, words, videos and frames are all compared with each other. Source:
specs/xclip-adaclip.md A.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.family import OriginalSettings, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.headers import HeaderFamily, HeaderOptions, header_options
from reelvec.models.temporal import frame_weights, pool, unit
from reelvec.models.xclip.bound import XClipBound
from reelvec.models.xclip.similarity import Matrices, Sides, fast_scores, plain_scores

__all__ = ["XClip"]

_WORDS = ("word_logit_weight", "word_mat_weight", "word_mat_weight2")
_FRAMES = ("frame_logit_weight", "frame_mat_weight", "frame_mat_weight2")
_WIDTH = ("global_mat_weight", "local_mat_weight")


class XClip(HeaderFamily, Bounded):
    """Columns: ``sentence``, ``words``; ``video``, ``frames``, all unit vectors.

    Words include start, end and padding tokens, frames the padded ones: the learned matrices have
    one row for each, so a checkpoint belongs to its max_words and max_frames. tightTransf has
    CLIP4Clip's columns instead, and leaves the matrices unused.
    """

    def __init__(
        self,
        options: HeaderOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(
            options, architecture=architecture, max_words=max_words, max_frames=max_frames
        )
        sizes = {_WIDTH: architecture.embed_dim, _WORDS: max_words, _FRAMES: max_frames}
        for names, size in sizes.items():
            for name in names:
                used = not self._is_tight
                self.register_parameter(name, nn.Parameter(torch.eye(size), requires_grad=used))

    @property
    def _is_tight(self) -> bool:
        return self.header == "tightTransf"

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By the eight matrices, whose sides are max_words and max_frames."""
        options, rest = header_options(state)
        if rest != {*_WORDS, *_FRAMES, *_WIDTH}:
            return None
        return OriginalSettings(
            options=options, max_words=len(state[_WORDS[0]]), max_frames=len(state[_FRAMES[0]])
        )

    @property
    def is_dot_product(self) -> bool:
        """False."""
        return False

    @property
    def text_columns(self) -> Columns:
        """Sentence and words."""
        width = self.architecture.embed_dim
        if self._is_tight:
            return {"sentence": Column((width,))}
        return {"sentence": Column((width,)), "words": Column((self.max_words, width))}

    @property
    def video_columns(self) -> Columns:
        """Video and frames; tightTransf: frames and their mask."""
        width = self.architecture.embed_dim
        frames = Column((self.max_frames, width))
        if self._is_tight:
            return {"frames": frames, "mask": Column((self.max_frames,), kind="integer")}
        return {"video": Column((width,)), "frames": frames}

    @property
    def reads_words(self) -> bool:
        """But for tightTransf."""
        return not self._is_tight

    @property
    def reads_padding(self) -> bool:
        """Always: its matrices have a row for each frame."""
        return True

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """All positions: words at padding count in the score; tightTransf has none."""
        if self._is_tight:
            return super().caption_lengths(tokens)
        return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """``sentence`` [T, D] and ``words`` [T, L, D], unit; tightTransf: ``sentence`` as it is."""
        if self._is_tight:
            return given
        return TextFeatures({name: unit(given[name]) for name in ("sentence", "words")})

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """``video`` [V, D] and ``frames`` [V, F, D], unit: CLIP's own, not the header's, frames.

        Raises:
            InputError: another number of frames than max_frames.
        """
        encoded, mask = given["frames"], given["mask"]
        self.check_frames(encoded, why="the rows of X-CLIP's matrices are")
        if self._is_tight:
            return given
        video = pool(self.temporal(encoded, mask), mask)
        return VideoFeatures({"video": video, "frames": unit(encoded)})

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]; in blocks of bounded memory where no gradient is asked for."""
        if self._is_tight:
            return self.cross_score(text["sentence"], video["frames"], video["mask"])
        sides = Sides(
            *(at_least_fp32(x) for x in (text["sentence"], text["words"])),
            *(at_least_fp32(x) for x in (video["video"], video["frames"])),
        )
        score = plain_scores if torch.is_grad_enabled() else fast_scores
        return self.logit_scale.exp() * score(sides, self.matrices())

    def score_bound(self) -> XClipBound | None:
        """The highest member of each weighed sum."""
        return None if self._is_tight else XClipBound(self, matrices=self.matrices())

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Softmax over frames of the plain cosine, without temperature (specs/more-heads.md 4.4).

        Over all frames of the columns, padded ones too.
        """
        return frame_weights(text["sentence"], video["frames"])

    def matrices(self) -> Matrices:
        """The eight learned matrices."""
        names = (*_WORDS, *_FRAMES, *_WIDTH)
        return Matrices(**{name: self.get_parameter(name) for name in names})
