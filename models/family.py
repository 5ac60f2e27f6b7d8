"""The interface of a model family: all that the rest of the system uses of a retrieval model.

`RetrievalModel` is the contract; `ClipFamily` is its half that all CLIP-based systems share: two
towers under `clip`, the originals' checkpoint keys, and the start from a CLIP archive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from reelvec.configs.decoding import FrameForm
from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import Transformer
from reelvec.models.clip.packing import caption_lengths
from reelvec.models.clip.preprocess import CLIP_MEAN, CLIP_STD, normalise
from reelvec.models.clip.tokenizer import tokenize
from reelvec.models.clip.towers import ClipTowers
from reelvec.models.clip.weights import load_strictly
from reelvec.models.errors import OptionsError
from reelvec.models.features import EMBEDDING, Columns, TextFeatures, VideoFeatures
from reelvec.models.noise import Noise
from reelvec.models.options import FamilyOptions, OriginalSettings
from reelvec.models.shapes import check_shape
from reelvec.models.training.losses import Terms

__all__ = ["ClipFamily", "FamilyOptions", "OriginalSettings", "RetrievalModel", "at_least_fp32"]


class RetrievalModel(nn.Module, ABC):
    """Encodes texts and videos into named features, and scores features against features.

    Encoders and scores are pure: what gathers features or cuts them into blocks stands outside.
    Rows of a batch never influence each other, but for the legacy masks
    (specs/clip4clip-clip2video.md 2.2).

    Attributes:
        options_class: the family's options.
        image_size: height and width of a frame, pixels.
        max_words: tokens of a caption (L), start and end included.
        max_frames: frames of a video (F).
    """

    options_class: ClassVar[type[FamilyOptions]]
    after_gather: ClassVar[tuple[str, ...]] = ()
    """How parameters' names begin that an encoder uses here, and the original after it has gathered
    features over processes: `train.gradient_scaling: legacy` does not divide their gradients."""
    rate_factors: Mapping[str, float] = MappingProxyType({})
    """How names of parameters begin, and their learning rate divided by that of the others."""
    trainable: ClassVar[bool] = True
    """Whether training changes anything; a family that only embeds says False."""
    transformers_names: ClassVar[bool] = False  # the original's checkpoints have fp32 towers so
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __init__(self, *, image_size: int, max_words: int, max_frames: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.max_words = max_words
        self.max_frames = max_frames

    @property
    @abstractmethod
    def text_columns(self) -> Columns:
        """The tensors of `encode_text`, by name: shape and kind of one row."""

    @property
    @abstractmethod
    def video_columns(self) -> Columns:
        """The tensors of `encode_video`, by name: shape and kind of one row."""

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """Logarithm of the factor on cosines: a scalar parameter."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """Tensors [T, ...] as in `text_columns`, of tokens int64 [T, max_words] of `tokenize`."""

    @abstractmethod
    def encode_video(self, frames: Tensor, mask: Tensor, **extra: Any) -> VideoFeatures:
        """Tensors [V, ...] as in `video_columns`.

        Args:
            frames: float [V, F, 3, S, S], normalised; padded frames are zeros.
            mask: int64 [V, F], 1 where a frame is real.
            extra: whatever else this family's `prepare` gave, and in training its `video_noise`.
        """

    @property
    def pixels(self) -> FrameForm:
        """The form of a frame that the model was made for; CLIP's is the centre crop."""
        return FrameForm(size=self.image_size)

    @property
    def is_dot_product(self) -> bool:
        """Whether a score is exp(logit_scale) times the dot product of two vectors."""
        return True

    def text_vectors(self, text: TextFeatures) -> Tensor:
        """Unit vectors [T, D] of a family whose `is_dot_product` holds."""
        return text[EMBEDDING]

    def video_vectors(self, video: VideoFeatures) -> Tensor:
        """Unit vectors [V, D] of a family whose `is_dot_product` holds."""
        return video[EMBEDDING]

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V], exp(logit_scale) included. Any rows may be combined, in any blocks."""
        scale = self.logit_scale.exp()
        return scale * (self.text_vectors(text) @ self.video_vectors(video).T)

    def components(self, text: TextFeatures, video: VideoFeatures) -> tuple[Tensor, ...]:
        """Logits [T, V] whose mean is `similarity`: one, but of a family that averages scores."""
        return (self.similarity(text, video),)

    def scorer(self, text: TextFeatures) -> Callable[[VideoFeatures], Tensor]:
        """`similarity` of these texts, without gradients; what they bring is computed once."""
        return partial(self.similarity, text)

    def score_terms(self, text: TextFeatures, video: VideoFeatures) -> Terms:
        """(weight, logits) pairs whose losses are summed so; `similarity` is their own sum.

        One pair but where a family weights losses (specs/clip4clip-clip2video.md 2.4).
        """
        return [(1.0, self.similarity(text, video))]

    def training_terms(self, text: TextFeatures, video: VideoFeatures, *, noise: Noise) -> Terms:
        """`score_terms` in training; `noise` [T, V] is for a family whose score draws any."""
        del noise
        return self.score_terms(text, video)

    def batch_loss(
        self, text: TextFeatures, video: VideoFeatures, *, noise: Noise
    ) -> Tensor | None:
        """What the loss of n matching texts and videos has beside pairs; None: nothing."""
        del text, video, noise
        return None

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor | None:
        """How much each frame of n videos counts for its own text, [n, F], sums 1: what is taught.

        None of a family that compares no frames with texts.
        """
        del text, video
        return None

    def video_noise(self, noise: Noise) -> dict[str, Tensor]:
        """Keyword arguments of `encode_video` in training, from the noise [V] of its rows."""
        del noise
        return {}

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, max_words] of raw captions."""
        return tokenize(texts, max_words=self.max_words)

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """Positions of each text that must be computed, int64 [T]; of a batch the most are."""
        return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)

    def prepare(self, frames: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Keyword arguments of `encode_video` from stored frames, on the frames' device.

        Args:
            frames: uint8 [V, F, S, S, 3] RGB, padded frames of any content.
            mask: int64 [V, F].

        Raises:
            InputError: frames of another size than the model's.
        """
        side = self.image_size
        remedy = f"; extract frames with size {side}"
        check_shape("frames", frames, ("V", "F", side, side, 3), remedy=remedy)
        return {"frames": normalise(frames, mask, mean=self.mean, std=self.std), "mask": mask}

    @classmethod
    def original_settings(cls, given: Mapping[str, Any]) -> OriginalSettings:
        """Our settings from an original system's (a checkpoint's config, a golden's metadata).

        By our names, `max_words` and `max_frames` among them; what is no option of ours is dropped.
        """
        known = cls.options_class.model_fields
        return OriginalSettings(
            options={key: value for key, value in given.items() if key in known},
            max_words=int(given["max_words"]),
            max_frames=int(given["max_frames"]),
        )

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """Settings of a checkpoint of this family, from its keys and shapes; None: of another."""
        del state
        return None

    @property
    def idle_modules(self) -> tuple[str, ...]:
        """Modules the original has in its checkpoints though this variant does not use them."""
        return ()

    def init_from_clip(self, state: Mapping[str, Tensor], *, lent: bool = False) -> None:
        """Start from a CLIP archive in OpenAI layout (keys without prefix); see `load_strictly`.

        Raises:
            OptionsError: the family does not start from a CLIP archive.
            WeightsError: missing, unexpected or misshaped tensors.
        """
        del lent
        raise OptionsError(
            f"{type(self).__name__} does not start from a CLIP archive ({len(state)} tensors given)"
        )

    def start_epoch(self, epoch: int) -> None:
        """Called before each training epoch, counted from 0; for a family's own schedules."""
        del epoch

    def set_activation_checkpointing(self, on: bool) -> None:
        """Recompute block activations in the backward pass, in every stack of blocks."""
        for module in self.modules():
            if isinstance(module, Transformer):
                module.activation_checkpointing = on


class ClipFamily(RetrievalModel):
    """A family on two CLIP towers, `self.clip`.

    A subclass sets its parameters in `__init__`, and from CLIP's in `_init_headers_from_clip`.
    """

    def __init__(
        self,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
        linear_patch: str = "2d",
    ) -> None:
        """Build towers with random weights.

        Raises:
            OptionsError: captions longer than the text tower's position table.
        """
        super().__init__(
            image_size=architecture.image_size, max_words=max_words, max_frames=max_frames
        )
        if not 3 <= max_words <= architecture.context_length:
            raise OptionsError(
                f"max_words {max_words} must be between 3 and the text tower's "
                f"{architecture.context_length} positions"
            )
        self.architecture = architecture
        self.clip = ClipTowers(architecture, linear_patch=linear_patch)

    @property
    def logit_scale(self) -> Tensor:
        """`clip.logit_scale`."""
        return self.clip.logit_scale

    @torch.no_grad()
    def init_from_clip(self, state: Mapping[str, Tensor], *, lent: bool = False) -> None:
        """Towers from an OpenAI archive, then the headers that start from CLIP tensors."""
        load_strictly(self.clip, state, derive_conv2=True, lent=lent)
        self._init_headers_from_clip(self.clip.state_dict())

    def _init_headers_from_clip(self, clip: Mapping[str, Tensor]) -> None:
        """Start headers from CLIP tensors (keys without prefix); none by default."""

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """Up to the end token; what stands after it moves nothing before it."""
        return caption_lengths(tokens)

    def encode_words(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Sentences [T, D], words [T, longest of `caption_lengths`, D], raw, at least fp32."""
        check_shape("tokens", tokens, ("T", self.max_words), remedy="; use its `tokenize`")
        longest = max(self.caption_lengths(tokens).tolist(), default=self.max_words)
        words = at_least_fp32(self.clip.encode_text(tokens[:, :longest]))
        return words[torch.arange(len(words), device=words.device), tokens.argmax(dim=1)], words

    def encode_frames(
        self, frames: Tensor, mask: Tensor | None = None, *, keep_padding: bool = False
    ) -> Tensor:
        """Frame features [V, F, D] of frames [V, F, 3, S, S], un-normalised, at least fp32.

        Without a mask all are encoded; else see `ClipTowers.encode_real`.
        """
        check_shape("frames", frames, ("V", "F", 3, self.image_size, self.image_size))
        if mask is None:
            return at_least_fp32(self.clip.encode_video(frames))
        return at_least_fp32(self.clip.encode_real(frames, mask, keep_padding=keep_padding))


def at_least_fp32(x: Tensor) -> Tensor:
    """`x` as the originals continue with it: half precision widened, fp32 and fp64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
