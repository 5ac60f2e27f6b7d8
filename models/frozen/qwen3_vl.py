"""Qwen3-VL-Embedding: a language model that reads a clip or a caption, and stands for it.

Source: specs/clip-native-encoders.md 5. Ids and pixels are made here, as the authors' script
makes them: transformers' own processor needs torchvision, samples otherwise, and has changed how
it wraps a clip. Vectors can be cut (Matryoshka): the first numbers of one, made unit again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.family import at_least_fp32
from reelvec.models.features import VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import (
    Clip,
    ClipEncoder,
    cut_width,
    padded_with_zeros,
    tokens_of,
)
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import number_of
from reelvec.models.frozen.qwen3_vl_input import ShownClip, grid_of, latest, prompt_of, shown
from reelvec.models.sampling.rules import Rule
from reelvec.models.temporal import unit
from reelvec.models.whole_vectors import Shortened

__all__ = [
    "MAX_TOKENS",
    "OWN_FRAMES",
    "Qwen3VLEmbedding",
    "last_states",
    "without_head",
]

INSTRUCTION = "Represent the user's input."
MAX_FRAMES = 64
MAX_TOKENS = 8192
_SIDE = 768
"""Of stored frames: what the largest budget of a frame can show of a wide picture."""
_OTHERS = ("chat", "reranker")
_LEAST_CUT = 64
_TOKENS_A_TIME = 12
"""Of a time stamp and its marks, about."""
OWN_FRAMES = OwnInput(
    FrameForm(size=_SIDE, fit="native"),
    FrameCount(MAX_FRAMES, exact=False),
    rule=Rule(policy="qwen3_vl", rate=1.0, max_frames=MAX_FRAMES),
)
"""Of the embedding model and the reranker: a frame a second in its own proportions."""


class Qwen3VLEmbedding(ClipEncoder, Shortened):
    """Column `embedding` on both sides; a score is the cosine, there is no scale."""

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, or options that do not fit.
            WeightsError: files it cannot be built from, or of the chat model or the reranker.
        """
        contents = unpacked(files)
        own = self.own_input(contents)
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
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`.

        Raises:
            WeightsError: the chat model or the reranker, which have the same type.
        """
        if "modules.json" not in files:
            raise WeightsError(
                f"model_type 'qwen3_vl' without modules.json is the {' or the '.join(_OTHERS)}"
                " model, not the embedding one; give the embedding model's folder with its own"
                " modules.json (a reranker is given to `reelvec search --rerank`)"
            )
        return replace(
            OWN_FRAMES,
            options={
                "text_instruction": INSTRUCTION,
                "video_instruction": INSTRUCTION,
                "wrapper": "bare",
            },
        )

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

    def clip_tokens(self, frames: int, *, size: tuple[int, int]) -> int:
        """Of all pairs of frames, their time stamps among them."""
        grid = grid_of(*size, frames=frames + frames % 2)
        return grid.pairs * (grid.tokens + _TOKENS_A_TIME)

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        return self.encode_clips([clip])

    def encode_clips(self, clips: Sequence[Clip]) -> VideoFeatures:
        """`embedding` [V, D], unit.

        Time stamps differ in length. Several clips are padded to those of the last hour a clip can
        be of, so that the length of a call follows from its clips' shape.
        """
        self.frame_count.check(len(clips[0].frames))
        outer = self._options.wrapper == "outer"
        told = self._options.video_instruction or INSTRUCTION
        seen = [shown(clip, outer=outer) for clip in clips]
        rows = [self._ids(told, one.blocks) for one in seen]
        if len(rows) > 1:
            rows.append(self._ids(told, latest(seen[0].grid, outer=outer)))
        longest = max(map(len, rows))
        last = last_states(self.encoder, rows[: len(clips)], clips=seen, length=longest)
        return VideoFeatures({"embedding": self._cut(last)})

    def _ids(self, told: str, blocks: str) -> list[int]:
        return list(self._tokenizer(prompt_of(told, blocks))["input_ids"])

    def _cut(self, states: Tensor) -> Tensor:
        """States [T, D] cut and made unit."""
        return unit(at_least_fp32(states[:, : self._width]))


def last_states(
    encoder: Any, rows: Sequence[Sequence[int]], *, clips: Sequence[ShownClip], length: int = 0
) -> Tensor:
    """The state [V, D] of the last token of prompts that hold clips' blocks.

    Args:
        encoder: `transformers`' model.
        rows: token ids of the prompts.
        clips: one of each prompt.
        length: to which prompts are padded on the right; 0: that of the longest.

    Raises:
        InputError: more tokens than the model takes.
    """
    longest = max(map(len, rows))
    if longest > MAX_TOKENS:
        raise InputError(f"a clip of {longest} tokens: the model takes {MAX_TOKENS}")
    patches = torch.cat([clip.patches for clip in clips])
    tokens = tokens_of([list(row) for row in rows]).to(patches.device)
    ids, mask = padded_with_zeros(tokens, length=max(length, longest))
    grids = [[one.grid.pairs, one.grid.height // 16, one.grid.width // 16] for one in clips]
    return _last(
        encoder,
        ids,
        mask,
        pixel_values_videos=patches.to(encoder.dtype),
        video_grid_thw=torch.tensor(grids, device=ids.device),
        mm_token_type_ids=2 * (ids == encoder.config.video_token_id).int(),
    )


def _last(encoder: Any, ids: Tensor, mask: Tensor, **seen: Tensor) -> Tensor:
    """The state of the last real token of each row, [T, D]."""
    encoder.rope_deltas = None  # kept by the model from one call to the next
    states = encoder(input_ids=ids, attention_mask=mask, use_cache=False, **seen)
    rows = torch.arange(len(ids), device=ids.device)
    last: Tensor = states.last_hidden_state[rows, mask.sum(dim=1) - 1]
    return last


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
