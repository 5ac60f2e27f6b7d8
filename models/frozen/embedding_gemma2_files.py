"""What the small files of an EmbeddingGemma-2 say: frames, their size, prompts.

Source: specs/clip-native-encoders.md 6; transformers, video_processing_embedding_gemma2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.frozen.embedding_gemma2_audio import hearing_of
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.packed_files import json_file
from reelvec.models.frozen.preprocessing import MAX_NUMBER
from reelvec.models.sampling.rules import Rule

__all__ = ["DOCUMENT", "QUERY", "frame_size", "gemma2_input", "video_settings"]

QUERY, DOCUMENT = "task: search result | query: ", "title: none | text: "
"""Before a caption and before a clip's frames; the second is MTEB's reading of the card."""
_SIDE = 768
"""Of stored frames: more than its budget shows of any picture but a very wide one."""
_SETTINGS: Mapping[str, int] = MappingProxyType(
    {"max_soft_tokens": 70, "max_frames": 32, "patch_size": 16, "pooling_kernel_size": 3}
)
_REMEDY = "take the checkpoint's own"


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


def gemma2_input(files: Mapping[str, bytes]) -> OwnInput:
    """What a checkpoint's unpacked small files say of frames."""
    most = video_settings(files)["max_frames"]
    return OwnInput(
        FrameForm(size=_SIDE, fit="native"),
        FrameCount(most, exact=False),
        rule=Rule(policy="embedding_gemma2", rate=1.0, max_frames=most),
        options={"text_instruction": QUERY, "video_instruction": DOCUMENT},
        hearing=hearing_of(files),
    )


def video_settings(files: Mapping[str, bytes]) -> dict[str, int]:
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
