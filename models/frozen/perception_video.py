"""Meta's PE-Video and PE-AV: each frame by PE-core, then a temporal encoder; texts by ModernBERT.

Source: specs/clip-native-encoders.md 4. `transformers`' own class needs timm and torchvision, and
its methods for videos alone do not run; here are its parts. Of it, ModernBERT is used as it is,
read before its last norm, as the authors do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.models.costs import Macs
from reelvec.models.errors import WeightsError
from reelvec.models.family import at_least_fp32
from reelvec.models.features import EMBEDDING, HEARD, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder, resized, tokens_of
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.loading import load_tokenizer
from reelvec.models.frozen.packed_files import unpacked
from reelvec.models.frozen.perception_audio import Heard, PerceptionAudio, hearing_tensors
from reelvec.models.frozen.perception_files import (
    TRUNK,
    VIDEO,
    pe_video_input,
    text_config,
    trunk_of,
    video_config,
)
from reelvec.models.frozen.perception_temporal import (
    ContrastiveHead,
    TemporalEncoder,
    TemporalSizes,
    temporal_macs,
    temporal_sizes,
)
from reelvec.models.frozen.perception_towers import ImageSizes, ImageTower, image_macs
from reelvec.models.frozen.perception_trunks import shape_of, sizes_of_trunk
from reelvec.models.temporal import unit

__all__ = ["PerceptionVideo"]

MAX_TOKENS = 512
_FRAMES_AT_ONCE = 16
"""Frames do not see each other before the temporal encoder; this bounds memory."""
_LEVELS = 127.5
_HEARS = ("audio_", "text_audio_", "video_plus_text_")
"""How names of PE-AV's tensors begin that a video and its texts do not need."""


class VideoEncoder(TemporalEncoder):
    """Frames [F, 3, S, S] to states [1, 1 + F, W]."""

    def __init__(self, image: ImageSizes, sizes: TemporalSizes, *, frame_width: int) -> None:
        super().__init__(sizes)
        tower = ImageTower(image, embed_dim=frame_width)
        self.embedder: Any = nn.ModuleDict(
            {
                "vision_model": nn.ModuleDict({"timm_model": tower}),
                "proj": nn.Linear(frame_width, sizes.width, bias=False),
                "data_proj": nn.Linear(sizes.width, sizes.width),
            }
        )

    def embed(self, frames: Tensor) -> Tensor:
        """A token [F, W] of each frame by itself."""
        tower = self.embedder["vision_model"]["timm_model"]
        vectors = torch.cat([tower(some) for some in torch.split(frames, _FRAMES_AT_ONCE)])
        projected = self.embedder["proj"](nn.functional.normalize(vectors, dim=-1))
        out: Tensor = self.embedder["data_proj"](projected)
        return out


class PerceptionVideo(ClipEncoder):
    """Column `embedding` on both sides; a score is the cosine, scale and bias are left out.

    With the option `hears`, of PE-AV alone, also `audio` and `audio_video`, with texts for each.
    """

    def __init__(
        self, state: Mapping[str, Tensor], *, options: FrozenOptions, max_frames: int
    ) -> None:
        """Build with random weights.

        Args:
            state: the checkpoint's tensors, of which only shapes are read, and its packed `files`.
            options: `hears`, none of the others.
            max_frames: frames of a clip.

        Raises:
            OptionsError: `transformers` is missing, any option, another number of frames.
            WeightsError: files or tensors it cannot be built from.
        """
        options.model_copy(update={"hears": False}).check_none("PE-AV")
        contents, heard = unpacked(state["files"]), hearing_tensors(state)
        state = self.adopt(state)
        own, config = pe_video_input(contents), text_config(contents)
        width, _ = shape_of(state, "encoder.text_video_head.proj.weight", axes=2)
        super().__init__(
            state["files"], own=own, width=width, max_words=MAX_TOKENS, max_frames=max_frames
        )
        self._image = sizes_of_trunk(
            state, prefix=TRUNK, trunk=trunk_of(contents, state), side=own.form.size
        )
        self._sizes = temporal_sizes(state, prefix=VIDEO, config=video_config(contents))
        self._frame_width, _ = shape_of(state, TRUNK + "head.weight", axes=2)
        self._tokenizer = load_tokenizer(contents)
        self.encoder: Any = self._parts(config)
        # in a tuple, as its parts are registered where the others are
        self._hearing = (PerceptionAudio(heard, files=contents),) if options.hears else ()
        for hearing in self._hearing:
            self.encoder.update(hearing.encoder.items())
        self.requires_grad_(False)

    def _parts(self, config: Mapping[str, Any]) -> nn.ModuleDict:
        text = _text_model(config)
        words = int(text.config.hidden_size)
        return nn.ModuleDict(
            {
                "text_model": text,
                "text_video_head": ContrastiveHead(words, out=self._width),
                "video_encoder": VideoEncoder(
                    self._image, self._sizes, frame_width=self._frame_width
                ),
                "video_head": ContrastiveHead(self._sizes.width, out=self._width),
            }
        )

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        return pe_video_input(files)

    @classmethod
    def adopt(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a video and its texts need, PE-AV's under PE-Video's names.

        PE-AV's file holds the text tower once. Left out are the parts that hear (see
        `adopt_heard`), and what only scales a score.
        """
        taken = {}
        for key, tensor in state.items():
            name = key.removeprefix("encoder.").removeprefix("video_model.")
            scales = name.endswith(("logit_scale", "logit_bias", "rope.pos_embed"))
            unused = scales or name.startswith((*_HEARS, "text_model.final_norm."))
            copied = key.startswith("encoder.video_model.text_model.")
            if not unused and not copied:
                taken[name if key == "files" else f"encoder.{name}"] = tensor
        return taken

    @classmethod
    def adopt_heard(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`adopt`, and what the parts need that hear."""
        return {**cls.adopt(state), **hearing_tensors(state)}

    @property
    def _names(self) -> tuple[str, ...]:
        return (EMBEDDING, *HEARD) if self._hearing else (EMBEDDING,)

    def macs(self) -> Macs:
        """The image tower a frame, the temporal encoder over all, one head of each."""
        frames, width = self.max_frames, self._sizes.width
        video = image_macs(self._image, embed_dim=self._frame_width, frames=frames)
        video += frames * width * (self._frame_width + width)
        video += temporal_macs(self._sizes, tokens=frames + 1) + width * self._width
        text = self.encoder["text_model"]
        sizes, words = text.config, self.max_words
        attention = 4 * words * sizes.hidden_size**2 + 2 * words**2 * sizes.hidden_size
        layer = attention + 3 * words * sizes.hidden_size * sizes.intermediate_size
        return Macs(
            sizes.num_hidden_layers * layer + sizes.hidden_size * self._width,
            video,
        )

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, L] of raw captions, the class token first.

        Raises:
            WeightsError: a tokenizer without a class token, which an empty caption shows.
        """
        if not texts:
            return tokens_of([])
        encoded = self._tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
        ids = [list(row) for row in encoded["input_ids"]]
        if not all(ids):
            raise WeightsError(
                "the checkpoint's tokenizer gives no token for an empty text, and a text is read"
                " off its first token; take the checkpoint's own tokenizer.json"
            )
        return tokens_of(ids)

    def _texts(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states = self.encoder["text_model"](input_ids=ids, attention_mask=mask).last_hidden_state
        seen = unit(at_least_fp32(self.encoder["text_video_head"](states[:, 0])))
        heard = (hearing.texts(states) for hearing in self._hearing)
        return {EMBEDDING: seen, **{k: x for one in heard for k, x in vars(one).items()}}

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit; if it hears, also `audio`, `audio_video`: NaN without sound."""
        self.frame_count.check(len(clip.frames))
        encoder = self.encoder["video_encoder"]
        side = self.image_size
        pixels = resized(clip.frames, size=(side, side), kind=self.pixels.interpolation)
        values = ((pixels.float() - _LEVELS) / _LEVELS).to(encoder.output.weight.dtype)
        states = encoder(encoder.embed(values)[None])
        seen = unit(at_least_fp32(self.encoder["video_head"](states[:, 0])))
        heard = (self._heard(hearing, clip, states, like=seen) for hearing in self._hearing)
        return VideoFeatures(
            {EMBEDDING: seen, **{k: x for one in heard for k, x in vars(one).items()}}
        )

    @staticmethod
    def _heard(hearing: PerceptionAudio, clip: Clip, states: Tensor, *, like: Tensor) -> Heard:
        if clip.sound is None:
            none = torch.full_like(like, torch.nan)
            return Heard(none, none)
        return hearing.encode(clip.sound, video=states)


def _text_model(config: Mapping[str, Any]) -> Any:
    """ModernBERT without its last norm, with random weights.

    Raises:
        WeightsError: a configuration it cannot be built from.
    """
    import transformers

    make: Any = transformers.ModernBertConfig
    try:
        model: Any = transformers.ModernBertModel(make(**config))
        model = model.float()
    except Exception as error:  # whatever the file makes it do
        raise WeightsError(f"config.json's text_config makes no ModernBERT: {error}") from error
    model.final_norm = nn.Identity()
    return model
