"""EmbeddingGemma-2: a bidirectional language model that reads frames or a caption, and is averaged.

Source: specs/clip-native-encoders.md 6; transformers, video_processing_embedding_gemma2. Ids and
pixels are made here, since the library's processor needs torchvision. What it hears is left out:
the audio tower is not built. Vectors can be cut (Matryoshka).
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.family import at_least_fp32
from reelvec.models.features import VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder, cut_width, resized, tokens_of
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import MAX_NUMBER, number_of
from reelvec.models.sampling.rules import Rule
from reelvec.models.temporal import unit
from reelvec.models.whole_vectors import Shortened

__all__ = ["EmbeddingGemma2", "frame_size"]

QUERY, DOCUMENT = "task: search result | query: ", "title: none | text: "
"""Before a caption and before a clip's frames; the second is MTEB's reading of the card."""
MAX_TOKENS = 8192
_VIDEO = "<|video|>"
_SIDE = 768
"""Of stored frames: more than its budget shows of any picture but a very wide one."""
_SETTINGS = {"max_soft_tokens": 70, "max_frames": 32, "patch_size": 16, "pooling_kernel_size": 3}
_CUTS = (128, 256, 512, 768)
_REMEDY = "take the checkpoint's own"


class EmbeddingGemma2(ClipEncoder, Shortened):
    """Column `embedding` on both sides; a score is the cosine, there is no scale."""

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
            own=_own_input(contents),
            width=cut_width(options, width=width),
            max_words=MAX_TOKENS,
            max_frames=max_frames,
        )
        self._options, self._settings = options, _settings(contents)
        deaf = json.dumps(config | {"audio_config": None}).encode()
        self.encoder, self._tokenizer = load({**contents, "config.json": deaf})
        self._tokenizer.add_special_tokens({"additional_special_tokens": [_VIDEO]})
        self.requires_grad_(False)

    @property
    def cut_widths(self) -> Container[int]:
        """As its authors say."""
        return _CUTS

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        return _own_input(files)

    @classmethod
    def adopt(cls, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors without those of the audio tower."""
        left_out = ("encoder.audio_tower.", "encoder.embed_audio.")
        return {key: tensor for key, tensor in state.items() if not key.startswith(left_out)}

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, L] of captions as queries."""
        told = self._options.text_instruction or QUERY
        if not texts:
            return tokens_of([])
        written = [told + text for text in texts]
        encoded = self._tokenizer(written, truncation=True, max_length=MAX_TOKENS)
        return tokens_of([list(ids) for ids in encoded["input_ids"]])

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._mean(ids, mask)

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        self.frame_count.check(len(clip.frames))
        encoder: Any = self.encoder
        patch, pooled = self._settings["patch_size"], self._settings["pooling_kernel_size"]
        height, width = frame_size(
            *clip.size, patches=self._settings["max_soft_tokens"] * pooled**2, side=patch * pooled
        )
        pixels = resized(clip.frames, size=(height, width), kind="bicubic")
        down, across, count = height // patch, width // patch, len(pixels)
        values = (pixels.float() / 255).to(encoder.dtype)
        parts = values.reshape(count, 3, down, patch, across, patch).permute(0, 2, 4, 3, 5, 1)
        rows, columns = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
        places = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2).to(values.device)
        ids = torch.tensor(
            [self._prompt(frames=count, tokens=down * across // pooled**2)], device=values.device
        )
        shown = {
            "pixel_values_videos": parts.reshape(count, down * across, -1),
            "video_position_ids": places.expand(count, -1, -1),
            "num_frames_per_video": torch.tensor([count], device=values.device),
        }
        return VideoFeatures({"embedding": self._mean(ids, torch.ones_like(ids), **shown)})

    def _prompt(self, *, frames: int, tokens: int) -> list[int]:
        begin = getattr(self._tokenizer, "boi_token", None) or "<|image>"
        end = getattr(self._tokenizer, "eoi_token", None) or "<image|>"
        told = self._options.video_instruction or DOCUMENT
        written = told + f"{begin}{_VIDEO * tokens}{end}" * frames
        ids: list[int] = self._tokenizer(written)["input_ids"]
        encoder: Any = self.encoder
        if ids.count(encoder.config.video_token_id) != frames * tokens:
            raise WeightsError(
                f"the tokenizer does not give {_VIDEO} the id {encoder.config.video_token_id} that"
                f" config.json names; {_REMEDY}"
            )
        if len(ids) > MAX_TOKENS:
            raise InputError(f"a clip of {len(ids)} tokens: the model takes {MAX_TOKENS}")
        return ids

    def _mean(self, ids: Tensor, mask: Tensor, **shown: Tensor) -> Tensor:
        """The mean over real tokens, cut and made unit: [T, D]."""
        encoder: Any = self.encoder
        states = encoder(input_ids=ids, attention_mask=mask, **shown).last_hidden_state
        real = mask[..., None].to(states.dtype)
        mean = (states * real).sum(dim=1) / real.sum(dim=1)
        return unit(at_least_fp32(mean[:, : self._width]))


def frame_size(height: int, width: int, *, patches: int, side: int) -> tuple[int, int]:
    """(height, width) of a picture in the model's budget: multiples of `side`, rounded down.

    Args:
        height: of the decoded pictures, pixels.
        width: of the same.
        patches: of 16 x 16 pixels, at most.
        side: pixels that one token sees.
    """
    factor = math.sqrt(patches * 256 / (height * width))
    tall, wide = (math.floor(factor * x / side) * side for x in (height, width))
    longest = patches * 256 // side
    if not tall and not wide:
        raise InputError(f"pictures of {height} x {width} do not fit {patches} patches")
    if not tall:
        return side, min(width // height * side, longest)
    if not wide:
        return min(height // width * side, longest), side
    return tall, wide


def _own_input(files: Mapping[str, bytes]) -> OwnInput:
    """What a checkpoint's unpacked small files say of frames."""
    most = _settings(files)["max_frames"]
    return OwnInput(
        FrameForm(size=_SIDE, fit="native"),
        FrameCount(most, exact=False),
        rule=Rule(policy="embedding_gemma2", rate=1.0, max_frames=most),
        options={"text_instruction": QUERY, "video_instruction": DOCUMENT},
    )


def _settings(files: Mapping[str, bytes]) -> dict[str, int]:
    """Of the video processor, in the order transformers looks for them; defaults are its own.

    Raises:
        WeightsError: settings that are not built, or cannot be.
    """
    given: Mapping[str, Any] = {}
    for name in ("processor_config.json", "video_preprocessor_config.json"):
        if name in files and not given:
            document = json_file(files, name, remedy=_REMEDY)
            given = document.get("video_processor", {}) if name[0] == "p" else document
    if given.get("add_timestamps") or given.get("fps", 1) != 1:
        raise WeightsError(
            f"the video processor's add_timestamps ({given.get('add_timestamps')}) and fps"
            f" ({given.get('fps')}) must be false and 1: others are not built"
        )
    settings = {name: given.get(name, default) for name, default in _SETTINGS.items()}
    for name, value in settings.items():
        if type(value) is not int or not 1 <= value <= MAX_NUMBER:
            raise WeightsError(f"the video processor's {name} is ({value!s:.40}); {_REMEDY}")
    return settings
