"""Qwen3-VL-Embedding: a language model that reads a clip or a caption, and stands for it.

Source: specs/clip-native-encoders.md 5. Ids and pixels are made here, as the authors' script
makes them: transformers' own processor needs torchvision, samples otherwise, and has changed how
it wraps a clip. Vectors can be cut (Matryoshka): the first numbers of one, made unit again.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
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
from reelvec.models.frozen.preprocessing import number_of
from reelvec.models.sampling.rules import Rule
from reelvec.models.temporal import unit
from reelvec.models.whole_vectors import Shortened

__all__ = [
    "MAX_TOKENS",
    "OWN_FRAMES",
    "Grid",
    "Qwen3VLEmbedding",
    "ShownClip",
    "grid_of",
    "last_states",
    "patches_of",
    "prompt_of",
    "shown",
    "without_head",
]

INSTRUCTION = "Represent the user's input."
MAX_FRAMES = 64
MAX_TOKENS = 8192
_FACTOR = 32
_LEAST, _MOST = 128 * 1024, 768 * 1024
_TOTAL = 10 * _MOST
"""Pixels of a frame, and of all frames of a clip."""
_MAX_RATIO = 200
_SIDE = 768
"""Of stored frames: what the largest budget of a frame can show of a wide picture."""
_OTHERS = ("chat", "reranker")
_LEAST_CUT = 64
OWN_FRAMES = OwnInput(
    FrameForm(size=_SIDE, fit="native"),
    FrameCount(MAX_FRAMES, exact=False),
    rule=Rule(policy="qwen3_vl", rate=1.0, max_frames=MAX_FRAMES),
)
"""Of the embedding model and the reranker: a frame a second in its own proportions."""


@dataclass(frozen=True)
class Grid:
    """Of a clip: pairs of frames, and height and width in pixels."""

    pairs: int
    height: int
    width: int


class Qwen3VLEmbedding(ClipEncoder, Shortened):
    """Column `embedding` on both sides; a score is the cosine, there is no scale."""

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, or options that do not fit.
            WeightsError: files it cannot be built from, or of the chat model or the reranker.
        """
        contents = unpacked(files)
        own = _own_input(contents)
        config = json_file(contents, "config.json", remedy="take the checkpoint's own")
        width = number_of(config, "text_config", "hidden_size", default=4096)
        super().__init__(
            files,
            own=own,
            width=cut_width(options, width=width),
            max_words=MAX_TOKENS,
            max_frames=max_frames,
        )
        self._options = options
        self.encoder, self._tokenizer = load(contents)
        self.requires_grad_(False)

    @property
    def cut_widths(self) -> Container[int]:
        """As its authors say."""
        return range(_LEAST_CUT, self._width + 1)

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        return _own_input(files)

    @classmethod
    def adopt(cls, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A checkpoint's tensors under the names of this class; see `kinds.adopted`."""
        return without_head(state)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, L] of the prompts that ask for captions."""
        instruction = self._options.text_instruction or INSTRUCTION
        prompts = [prompt_of(instruction, text) for text in texts]
        if not prompts:
            return tokens_of([])
        encoded = self._tokenizer(prompts, truncation=True, max_length=MAX_TOKENS)
        return tokens_of([list(ids) for ids in encoded["input_ids"]])

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._cut(_last(self.encoder, ids, mask))

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        self.frame_count.check(len(clip.frames))
        seen = shown(clip, outer=self._options.wrapper == "outer")
        prompt = prompt_of(self._options.video_instruction or INSTRUCTION, seen.blocks)
        last = last_states(self.encoder, self._tokenizer, prompt, clip=seen)
        return VideoFeatures({"embedding": self._cut(last)})

    def _cut(self, states: Tensor) -> Tensor:
        """States [T, D] cut and made unit."""
        return unit(at_least_fp32(states[:, : self._width]))


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownClip:
    """A clip as the language model is given it.

    Attributes:
        blocks: its time stamps and the places of its tokens, in the prompt.
        patches: float32 [T/2 * H/16 * W/16, 1536].
        grid: pairs of frames and pixels.
    """

    blocks: str
    patches: Tensor
    grid: Grid


def shown(clip: Clip, *, outer: bool = False) -> ShownClip:
    """A clip's frames at the size of its grid, as patches and in words.

    Raises:
        InputError: a picture more than 200 times as long as it is high.
    """
    frames, seconds = _even(clip.frames), _even(clip.seconds)
    grid = grid_of(*clip.size, frames=len(frames))
    pixels = resized(frames, size=(grid.height, grid.width), kind="bicubic", exact=True)
    return ShownClip(
        blocks=_blocks(seconds, grid, outer=outer), patches=patches_of(pixels), grid=grid
    )


def last_states(encoder: Any, tokenizer: Any, prompt: str, *, clip: ShownClip) -> Tensor:
    """The state [1, D] of the last token of a prompt that holds a clip's blocks.

    Raises:
        InputError: more tokens than the model takes.
    """
    ids = torch.tensor([tokenizer(prompt)["input_ids"]], device=clip.patches.device)
    if ids.shape[1] > MAX_TOKENS:
        raise InputError(f"a clip of {ids.shape[1]} tokens: the model takes {MAX_TOKENS}")
    grid = [[clip.grid.pairs, clip.grid.height // 16, clip.grid.width // 16]]
    return _last(
        encoder,
        ids,
        torch.ones_like(ids),
        pixel_values_videos=clip.patches.to(encoder.dtype),
        video_grid_thw=torch.tensor(grid, device=ids.device),
        mm_token_type_ids=2 * (ids == encoder.config.video_token_id).int(),
    )


def _last(encoder: Any, ids: Tensor, mask: Tensor, **seen: Tensor) -> Tensor:
    """The state of the last real token of each row, [T, D]."""
    encoder.rope_deltas = None  # kept by the model from one call to the next
    states = encoder(input_ids=ids, attention_mask=mask, use_cache=False, **seen)
    rows = torch.arange(len(ids), device=ids.device)
    last: Tensor = states.last_hidden_state[rows, mask.sum(dim=1) - 1]
    return last


def _own_input(files: Mapping[str, bytes]) -> OwnInput:
    """What a checkpoint's unpacked small files say of frames.

    Raises:
        WeightsError: the chat model or the reranker, which have the same type.
    """
    if "modules.json" not in files:
        raise WeightsError(
            f"model_type 'qwen3_vl' without modules.json is the {' or the '.join(_OTHERS)} model,"
            " not the embedding one; give the embedding model's folder with its own modules.json"
            " (a reranker is given to `reelvec search --rerank`)"
        )
    return replace(
        OWN_FRAMES,
        options={
            "text_instruction": INSTRUCTION,
            "video_instruction": INSTRUCTION,
            "wrapper": "bare",
        },
    )


def without_head(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under the names of the model without its language head, which is left out."""
    begin = "encoder.model."
    if not any(key.startswith(begin) for key in state):
        return state
    return {
        f"encoder.{key.removeprefix(begin)}" if key.startswith(begin) else key: tensor
        for key, tensor in state.items()
        if key != "encoder.lm_head.weight"
    }


def grid_of(height: int, width: int, *, frames: int) -> Grid:
    """The grid of a clip: sides of multiples of 32 near its own, within the budget of pixels.

    Args:
        height: of the decoded pictures, pixels.
        width: of the same.
        frames: an even number.

    Raises:
        InputError: a picture more than 200 times as long as it is high.
    """
    if max(height, width) > _MAX_RATIO * min(height, width):
        raise InputError(
            f"pictures of {height} x {width}: one side is over {_MAX_RATIO} times the other"
        )
    most = max(min(_MOST, _TOTAL / frames * 2), int(_LEAST * 1.05))
    tall, wide = (max(_FACTOR, round(side / _FACTOR) * _FACTOR) for side in (height, width))
    if tall * wide > most:
        shrink = math.sqrt(height * width / most)
        tall, wide = (
            max(_FACTOR, math.floor(side / shrink / _FACTOR) * _FACTOR) for side in (height, width)
        )
    elif tall * wide < _LEAST:
        grow = math.sqrt(_LEAST / (height * width))
        tall, wide = (math.ceil(side * grow / _FACTOR) * _FACTOR for side in (height, width))
    return Grid(frames // 2, tall, wide)


def patches_of(pixels: Tensor) -> Tensor:
    """Frames [T, 3, H, W] of levels as patches [T/2 * H/16 * W/16, 1536] in the model's order."""
    values = (pixels.float() - 127.5) / 127.5
    count, _, height, width = values.shape
    parts = values.reshape(count // 2, 2, 3, height // 32, 2, 16, width // 32, 2, 16)
    return parts.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1536)


def _even(frames: Tensor) -> Tensor:
    """The last one twice where their number is odd."""
    return torch.cat([frames, frames[-1:]]) if len(frames) % 2 else frames


def _blocks(seconds: Tensor, grid: Grid, *, outer: bool) -> str:
    """A time stamp and the places of its tokens for each pair of frames."""
    tokens = "<|video_pad|>" * (grid.height // _FACTOR * (grid.width // _FACTOR))
    times = seconds.reshape(-1, 2).mean(dim=1).tolist()
    shown = "".join(f"<{t:.1f} seconds><|vision_start|>{tokens}<|vision_end|>" for t in times)
    return f"<|vision_start|>{shown}<|vision_end|>" if outer else shown


def prompt_of(instruction: str, content: str) -> str:
    """What the model reads; an instruction ends with punctuation."""
    ended = instruction.strip()
    if ended and not unicodedata.category(ended[-1]).startswith("P"):
        ended += "."
    return (
        f"<|im_start|>system\n{ended}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
