"""EmbeddingGemma-2: a bidirectional language model that reads frames or a caption, and is averaged.

Source: specs/clip-native-encoders.md 6; transformers, video_processing_embedding_gemma2. Ids and
pixels are made here, since the library's processor needs torchvision. With the option `hears` it
reads sound, too, alone and beside the frames. Vectors can be cut (Matryoshka).
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reelvec.models.errors import InputError, WeightsError
from reelvec.models.family import at_least_fp32
from reelvec.models.features import EMBEDDING, HEARD, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder, cut_width, resized, tokens_of
from reelvec.models.frozen.embedding_gemma2_audio import (
    Ear,
    Marks,
    Spectrogram,
    with_sound,
)
from reelvec.models.frozen.embedding_gemma2_files import (
    DOCUMENT,
    QUERY,
    frame_size,
    gemma2_input,
    video_settings,
)
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import number_of
from reelvec.models.temporal import unit
from reelvec.models.whole_vectors import Shortened

__all__ = ["EmbeddingGemma2"]

MAX_TOKENS = 8192
_OTHERS = ("image", "video", "audio")
_VIDEO, _AUDIO = "<|video|>", "<|audio|>"
_MARKS = {
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}
_CUTS = (128, 256, 512, 768)
_REMEDY = "take the checkpoint's own"


class EmbeddingGemma2(ClipEncoder, Shortened):
    """Column `embedding` on both sides; a score is the cosine, there is no scale.

    With the option `hears`, of a checkpoint with an audio tower, also `audio` and `audio_video`;
    a text has one vector, which is in all three.
    """

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, or options that do not fit.
            WeightsError: files it cannot be built from.
        """
        contents = unpacked(files)
        config = json_file(contents, "config.json", remedy=_REMEDY)
        if options.wrapper is not None:
            FrozenOptions(wrapper=options.wrapper).check_none("EmbeddingGemma-2")
        if not config.get("vision_config"):
            raise WeightsError("this EmbeddingGemma-2 has no vision_config: it sees no video")
        width = number_of(config, "text_config", "embedding_dim", default=768)
        super().__init__(
            files,
            own=gemma2_input(contents),
            width=cut_width(options, width=width),
            max_words=MAX_TOKENS,
            max_frames=max_frames,
        )
        self._options, self._settings = options, video_settings(contents)
        self._ear = Ear(contents) if options.hears else None
        if self._ear is None:
            contents["config.json"] = json.dumps(config | {"audio_config": None}).encode()
        self.encoder, self._tokenizer = load(contents)
        self._tokenizer.add_special_tokens({"additional_special_tokens": [_VIDEO]})
        self._frame = self._marks("boi", _VIDEO, "eoi")
        self._sound = self._marks("boa", getattr(self._tokenizer, "audio_token", None), "eoa")
        self.requires_grad_(False)

    def _marks(self, begin: str, token: str | None, end: str) -> Marks:
        """The tokenizer's own; where it names none, Gemma 4's."""
        names = (f"{begin}_token", f"{end}_token")
        first, last = (getattr(self._tokenizer, name, None) or _MARKS[name] for name in names)
        return Marks(first, token or _AUDIO, last)

    @property
    def cut_widths(self) -> Container[int]:
        """As its authors say."""
        return _CUTS

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        return gemma2_input(files)

    @classmethod
    def adopt(cls, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors without those of the audio tower."""
        left_out = ("encoder.audio_tower.", "encoder.embed_audio.")
        return {key: tensor for key, tensor in state.items() if not key.startswith(left_out)}

    @classmethod
    def adopt_heard(cls, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All tensors."""
        return state

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, L] of captions as queries."""
        told = self._options.text_instruction or QUERY
        if not texts:
            return tokens_of([])
        written = [told + text for text in texts]
        encoded = self._tokenizer(written, truncation=True, max_length=MAX_TOKENS)
        return tokens_of([list(ids) for ids in encoded["input_ids"]])

    @property
    def _names(self) -> tuple[str, ...]:
        return (EMBEDDING,) if self._ear is None else (EMBEDDING, *HEARD)

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor | dict[str, Tensor]:
        vectors = self._mean(self._embedded(ids), mask)
        return vectors if self._ear is None else dict.fromkeys(self._names, vectors)

    def clip_tokens(self, frames: int, *, size: tuple[int, int]) -> int | None:
        """Of all frames with their marks; with sound, whose length differs, a clip goes alone."""
        return None if self._ear else frames * (math.prod(self._grid(size)) + 2)

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit; if it hears, also `audio`, `audio_video`: NaN without sound."""
        shown = self._shown([clip])
        frame = self._frame.around(shown.shape[1] // len(clip.frames))
        seen = {EMBEDDING: self._vectors(frame * len(clip.frames), video=shown)}
        if self._ear is None:
            return VideoFeatures(seen)
        if clip.sound is None:
            none = torch.full_like(seen[EMBEDDING], torch.nan)
            return VideoFeatures({**seen, **dict.fromkeys(HEARD, none)})
        heard = self._heard(self._ear.heard(clip.sound))
        both = with_sound(
            (clip.seconds - clip.start).tolist(),
            frame,
            length=clip.length,
            tokens=heard.shape[1],
            a_second=self._ear.tokens_a_second,
            marks=self._sound,
        )
        audio = self._vectors(self._sound.around(heard.shape[1]), audio=heard)
        audio_video = self._vectors(both, audio=heard, video=shown)
        return VideoFeatures({**seen, "audio": audio, "audio_video": audio_video})

    def encode_clips(self, clips: Sequence[Clip]) -> VideoFeatures:
        """The same of clips of one shape, whose prompts are the same; with sound, one by one."""
        if self._ear is not None:
            return super().encode_clips(clips)
        shown, frames = self._shown(clips), len(clips[0].frames)
        content = self._frame.around(shown.shape[1] // frames) * frames
        return VideoFeatures({EMBEDDING: self._vectors(content, video=shown)})

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens of a frame."""
        pooled = self._settings["pooling_kernel_size"]
        side = self._settings["patch_size"] * pooled
        most = self._settings["max_soft_tokens"] * pooled**2
        height, width = frame_size(*size, patches=most, side=side)
        return height // side, width // side

    def _shown(self, clips: Sequence[Clip]) -> Tensor:
        """What the language model is given of all frames, one after the other: [V, N, W]."""
        self.frame_count.check(len(clips[0].frames))
        encoder: Any = self.encoder
        patch, pooled = self._settings["patch_size"], self._settings["pooling_kernel_size"]
        down, across = (side * pooled for side in self._grid(clips[0].size))
        size = (down * patch, across * patch)
        pixels = torch.cat([resized(clip.frames, size=size, kind="bicubic") for clip in clips])
        count = len(pixels)
        values = (pixels.float() / 255).to(encoder.dtype)
        parts = values.reshape(count, 3, down, patch, across, patch).permute(0, 2, 4, 3, 5, 1)
        rows, columns = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
        places = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2).to(values.device)
        found = encoder.get_video_features(
            parts.reshape(count, down * across, -1),
            places.expand(count, -1, -1),
            torch.tensor([count // len(clips)] * len(clips), device=values.device),
        )
        return torch.stack(list(found.pooler_output))

    def _heard(self, sound: Spectrogram) -> Tensor:
        """What the language model is given of sound: [1, N, W]."""
        encoder: Any = self.encoder
        found = encoder.get_audio_features(sound.values.to(encoder.dtype), sound.mask)
        out: Tensor = found.pooler_output[found.attention_mask]
        return out[None]

    def _vectors(self, content: str, **given: Tensor) -> Tensor:
        """Vectors [V, D] of a prompt in which the places of `given` tokens [V, N, W] are marked.

        Raises:
            InputError: more tokens than the model takes.
            WeightsError: a tokenizer that does not know the marks.
        """
        encoder: Any = self.encoder
        told = self._options.video_instruction or DOCUMENT
        ids = torch.tensor([self._tokenizer(told + content)["input_ids"]], device=encoder.device)
        if ids.shape[1] > MAX_TOKENS:
            raise InputError(
                f"a clip of {ids.shape[1]} tokens: the model takes {MAX_TOKENS}; take fewer frames"
                " (model.max_frames)"
            )
        count = len(next(iter(given.values())))
        embedded = self._embedded(ids).expand(count, -1, -1)
        for name, tokens in given.items():
            number = getattr(encoder.config, f"{name}_token_id")
            at = (ids == number)[..., None]
            if int(at.sum()) != tokens.shape[1]:
                raise WeightsError(
                    f"the tokenizer does not give {name} tokens the id {number} that config.json"
                    f" names; {_REMEDY}"
                )
            embedded = embedded.masked_scatter(at.expand_as(embedded), tokens.to(embedded.dtype))
        return self._mean(embedded, torch.ones_like(ids).expand(count, -1))

    def _embedded(self, ids: Tensor) -> Tensor:
        """Of words; where tokens of something else stand, of padding, as the library does it."""
        encoder: Any = self.encoder
        config = encoder.config
        others = ids.new_tensor([getattr(config, f"{x}_token_id") for x in _OTHERS])
        words = torch.where(torch.isin(ids, others), config.text_config.pad_token_id, ids)
        out: Tensor = encoder.get_input_embeddings()(words)
        return out

    def _mean(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """The mean over real tokens, cut and made unit: [T, D]."""
        encoder: Any = self.encoder
        read = encoder.language_model(inputs_embeds=embedded, attention_mask=mask)
        states = read.last_hidden_state
        real = mask[..., None].to(states.dtype)
        mean = (states * real).sum(dim=1) / real.sum(dim=1)
        return unit(at_least_fp32(mean[:, : self._width]))
