"""UCoFiA (Wang et al. 2023): a sentence with videos and frames, its words with patches.

Source: specs/more-heads.md 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, header_macs
from reelvec.models.family import OriginalSettings, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.headers import header_options
from reelvec.models.temporal import pool, unit
from reelvec.models.tokens.family import TokenFamily, TokenOptions, shifted_blocks
from reelvec.models.ucofia.bound import UcofiaBound
from reelvec.models.ucofia.similarity import Sides, components

__all__ = ["Ucofia"]

_CHOOSING = "visual_token_selector."
_FIRST = f"{_CHOOSING}score_predictor.in_conv.1.weight"
_UNUSED = (
    "word_logit_weight",
    "frame_mat_weight",
    "frame_mat_weight2",
    "word_mat_weight_for_pixel",
)
_WIDTH = ("global_mat_weight", "global_mat_weight_1", "local_mat_weight", "local_mat_weight1")
_FRAMES = ("frame_logit_weight", "frame_mat_weight", "frame_mat_weight2")
_WORDS = (
    "word_logit_weight", "word_mat_weight", "word_mat_weight2", "word_mat_weight_for_pixel",
)  # fmt: skip
_PIXELS = ("pixel_mat_weight", "pixel_mat_weight2")


class UcofiaOptions(TokenOptions):
    """Shift, selection, and which of the two released codes (specs/more-heads.md 6.3)."""

    code: Literal["train", "eval_t2v"] = "train"
    """The released training and evaluation codes are different models; a checkpoint's shapes tell
    which it is of."""


class Ucofia(TokenFamily, Bounded):
    """Columns: `sentence`, `words`; `video`, `frames`, all unit, and `pixels`, as they are.

    Words and frames include padding: the learned matrices have one row for each, so a checkpoint
    belongs to its max_words and max_frames. `words` and `pixels` are stored times their matrices.
    """

    options_class = UcofiaOptions
    options: UcofiaOptions
    after_gather = ("local_mat_weight",)

    def __init__(
        self,
        options: UcofiaOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        self._evaluates = options.code == "eval_t2v"
        super().__init__(
            options,
            architecture=architecture,
            max_words=max_words,
            max_frames=max_frames,
            by_video=self._evaluates,
        )
        width, pixels = architecture.embed_dim, self.kept * max_frames
        sizes = {_WIDTH: width, _FRAMES: max_frames, _WORDS: max_words, _PIXELS: pixels}
        unused = {*_UNUSED, *(["local_mat_weight1"] if self._evaluates else [])}
        for names, size in sizes.items():
            for name in names:
                used = name not in unused
                self.register_parameter(name, nn.Parameter(torch.eye(size), requires_grad=used))

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By the matrices, whose sides are lengths; the selector's width tells which code."""
        options, rest = header_options(state)
        matrices = {*_WIDTH, *_FRAMES, *_WORDS, *_PIXELS}
        chooses = {key for key in rest if key.startswith(_CHOOSING)}
        if rest - chooses != matrices or _FIRST not in state:
            return None
        frames, pixels = len(state[_FRAMES[0]]), len(state[_PIXELS[0]])
        own = {
            "shift_layers": shifted_blocks(state),
            "topk": pixels // frames - 1,
            "code": "train" if state[_FIRST].shape[1] == len(state[_WIDTH[0]]) else "eval_t2v",
        }
        return OriginalSettings(
            options=options | own, max_words=len(state[_WORDS[0]]), max_frames=frames
        )

    @property
    def is_dot_product(self) -> bool:
        """False."""
        return False

    @property
    def text_columns(self) -> Columns:
        """Sentence and words."""
        width = self.architecture.embed_dim
        return {"sentence": Column((width,)), "words": Column((self.max_words, width))}

    @property
    def video_columns(self) -> Columns:
        """Video, frames and kept patches."""
        width, frames = self.architecture.embed_dim, self.max_frames
        return {
            "video": Column((width,)),
            "frames": Column((frames, width)),
            "pixels": Column((self.kept * frames, width)),
        }

    @property
    def reads_words(self) -> bool:
        """Always."""
        return True

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """All positions: words at padding count in the score."""
        return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)

    def macs(self) -> Macs:
        """Towers, selection, header, and the matrices of words and patches."""
        width, frames = self.architecture.embed_dim, self.max_frames
        layers = self.options.cross_num_hidden_layers
        local = width * width
        pixels = 0 if self._evaluates else self.kept * frames
        return (
            self.token_macs(by_video=self._evaluates)
            + header_macs(self.header, width, layers=layers, frames=frames)
            + Macs(self.max_words * local, pixels * local)
        )

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """`sentence` [T, D], unit; `words` [T, L, D], unit, times local_mat_weight."""
        words = unit(given["words"]) @ self.get_parameter("local_mat_weight")
        return TextFeatures({"sentence": unit(given["sentence"]), "words": words})

    def video_head(self, given: VideoFeatures, **noise: Tensor) -> VideoFeatures:
        """`video` [V, D], `frames` [V, F, D], unit; `pixels` [V, 4 F, D] of the kept tokens."""
        tokens, mask = given["tokens"], given["mask"]
        frames = tokens[:, :, 0]
        pixels = self.selected(tokens, noise.get("selection_noise")).flatten(1, 2)
        if not self._evaluates:
            pixels = pixels @ self.get_parameter("local_mat_weight1")
        video = pool(self.temporal(frames, mask), mask)
        return VideoFeatures({"video": video, "frames": unit(frames), "pixels": pixels})

    def components(self, text: TextFeatures, video: VideoFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [T, V] of videos, frames and patches; the last carries no scale, as released."""
        given = [text["sentence"], text["words"], video["video"], video["frames"], video["pixels"]]
        sides = Sides(*(at_least_fp32(x) for x in given))
        names = (*_WIDTH, *_FRAMES, *_WORDS, *_PIXELS)
        found = components(sides, {name: self.get_parameter(name) for name in names})
        scale = self.logit_scale.exp()
        return scale * found[0], scale * found[1], found[2]

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]: the mean of the three."""
        coarse, by_frame, fine = self.components(text, video)
        return (coarse + by_frame + fine) / 3

    def score_bound(self) -> UcofiaBound:
        """The highest frame and the longest patch (specs/more-heads.md 6.5)."""
        coarse = (self.get_parameter(_WIDTH[0]), self.get_parameter(_WIDTH[1]))
        return UcofiaBound(self, coarse=coarse)
