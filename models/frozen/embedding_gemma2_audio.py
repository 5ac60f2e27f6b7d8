"""What EmbeddingGemma-2 is given of sound: a spectrogram, and the places of its tokens in a prompt.

Source: transformers, models/embedding_gemma2/processing_embedding_gemma2.py and its feature
extractor (Apache-2.0), which is used as it is: it needs no torchvision. A token is 40 ms. Sound of
more than 30 seconds is cut to them, as the extractor cuts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reelvec.models.errors import WeightsError
from reelvec.models.frozen.input import Hearing
from reelvec.models.frozen.packed_files import json_file

__all__ = ["Ear", "Marks", "Spectrogram", "hearing_of", "with_sound"]

SAMPLES = 480_000
"""Of sound at most: what the feature extractor does not cut."""
_RATE = 16_000
_LEAST_RATE, _MOST_RATE = 8_000, 192_000
_REMEDY = "take the checkpoint's own"
_BANDS = 1024
_HALVINGS = 2
"""Of the spectrogram's columns on their way to tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrogram:
    """Of one clip.

    Attributes:
        values: float32 [1, M, bands].
        mask: bool [1, M]; whether a column is of nothing but real samples.
        tokens: how many the model makes of it.
    """

    values: Tensor
    mask: Tensor
    tokens: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands before, for and after the tokens of a frame, or of a piece of sound."""

    begin: str
    token: str
    end: str

    def around(self, tokens: int) -> str:
        """So many tokens between their marks."""
        return f"{self.begin}{self.token * tokens}{self.end}"


class Ear:
    """The checkpoint's feature extractor.

    Attributes:
        tokens_a_second: of sound, where it stands beside frames.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Of a checkpoint's unpacked small files.

        Raises:
            WeightsError: settings it cannot be built from.
        """
        import transformers

        make: Any = transformers.Gemma4AudioFeatureExtractor
        given = _settings(files)
        try:
            self._extract = make.from_dict(dict(given))
        except Exception as error:  # whatever the file makes it do
            raise WeightsError(f"the feature extractor cannot be built: {error}") from error
        half = self._extract.frame_length // 2
        self._least = self._extract.frame_length + 1 - half
        columns = max(0, (self._extract.sampling_rate - half - 1) // self._extract.hop_length + 1)
        self.tokens_a_second = int(_halved(np.ones(columns, bool)).size)

    def heard(self, samples: Tensor) -> Spectrogram:
        """Of sound float32 [N], one channel; what is too short for a token goes on in silence."""
        sound = samples.cpu().numpy()
        sound = np.pad(sound, (0, max(0, self._least - len(sound))))
        made = self._extract([sound], return_tensors="np")
        mask = made["input_features_mask"][0]
        return Spectrogram(
            values=torch.from_numpy(made["input_features"]).to(samples.device),
            mask=torch.from_numpy(mask[None]).to(samples.device),
            tokens=int(_halved(mask).sum()),
        )


def _halved(mask: np.ndarray) -> np.ndarray:
    """Which tokens are real: every second column, and of these every second."""
    for _ in range(_HALVINGS):
        mask = mask[::2]
    return mask


def with_sound(
    seconds: Sequence[float], frame: str, *, length: float, tokens: int, a_second: int, marks: Marks
) -> str:
    """Frames and pieces of sound in turn, each with its minute and second.

    After each frame come the seconds of sound up to the next one; what is left after the clip's
    last whole second is put to that one.

    Args:
        seconds: when each frame is shown, from the clip's beginning on.
        frame: the places of one frame's tokens.
        length: of the clip, seconds.
        tokens: of all its sound.
        a_second: tokens of a second of sound.
        marks: of sound.
    """
    shown = [round(second) for second in seconds]
    end = max(1, int(length), shown[0] + 1)
    heard = {
        second: min(a_second, max(0, tokens - past * a_second))
        for past, second in enumerate(range(shown[0], end))
    }
    heard[end - 1] += tokens - sum(heard.values())
    parts = []
    for second, following in zip(shown, [*shown[1:], end], strict=True):
        parts.append(f"{_clock(second)} {frame}")
        for now in range(second, following):
            if heard.get(now):
                parts.append(f"{_clock(now)} {marks.around(heard[now])}")
    return " ".join(parts)


def _clock(second: int) -> str:
    return f"{second // 60:02d}:{second % 60:02d}"


def hearing_of(files: Mapping[str, bytes]) -> Hearing | None:
    """What a checkpoint's unpacked small files say it hears; None: it has no audio tower.

    Raises:
        WeightsError: a rate that cannot be.
    """
    if not json_file(files, "config.json", remedy=_REMEDY).get("audio_config"):
        return None
    rate = _settings(files)["sampling_rate"]
    return Hearing(rate, SAMPLES / rate)


def _settings(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """Of the feature extractor, in the order transformers looks for them; {} are its own.

    Raises:
        WeightsError: settings that cannot be, or draw numbers.
    """
    given: Mapping[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        if name in files and not given:
            document = json_file(files, name, remedy=_REMEDY)
            inner = document.get("feature_extractor")
            is_own = "feature_extractor_type" in document
            given = inner if isinstance(inner, Mapping) else document if is_own else {}
    settings = {"sampling_rate": _RATE, "feature_size": 128, "dither": 0.0, **given}
    rate, bands = settings["sampling_rate"], settings["feature_size"]
    if type(rate) is not int or not _LEAST_RATE <= rate <= _MOST_RATE:
        raise WeightsError(f"the feature extractor's sampling_rate is ({rate!s:.40}); {_REMEDY}")
    if type(bands) is not int or not 1 <= bands <= _BANDS:
        raise WeightsError(f"the feature extractor's feature_size is ({bands!s:.40}); {_REMEDY}")
    if settings["dither"]:
        raise WeightsError(
            f"the feature extractor's dither ({settings['dither']!s:.40}) must be 0: a vector would"
            " be another at each run"
        )
    return settings
