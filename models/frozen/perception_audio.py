"""What PE-AV hears: the encoders of sound, and of sound and pictures together, with their heads.

Source: specs/clip-native-encoders.md 4; transformers, models/pe_audio and pe_audio_video
(Apache-2.0). Sound passes through DAC's encoder, which is `transformers`' own, one token for each
`hop` samples. One clip a call: DAC's convolutions see padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reelvec.models.errors import InputError, WeightsError
from reelvec.models.family import at_least_fp32
from reelvec.models.frozen.perception_files import (
    MOST_TOKENS,
    RATIOS,
    audio_rate,
    hearing_config,
)
from reelvec.models.frozen.perception_temporal import (
    ContrastiveHead,
    TemporalEncoder,
    TemporalSizes,
    temporal_sizes,
)
from reelvec.models.frozen.perception_trunks import shape_of
from reelvec.models.temporal import unit

__all__ = ["Heard", "PerceptionAudio", "hearing_tensors", "whole_hops"]

AUDIO, BOTH = "encoder.audio_encoder.", "encoder.audio_video_encoder."
"""How names of tensors begin."""
_DAC: Mapping[str, Any] = MappingProxyType(
    {"downsampling_ratios": list(RATIOS), "encoder_hidden_size": 64, "codebook_dim": 128}
)
"""What PE's configuration class takes where the file says nothing; the rest is DAC's."""
_HEADS = ("audio_head", "text_audio_head", "audio_video_head", "text_audio_video_head")


class AudioEncoder(TemporalEncoder):
    """Sound [1, 1, N] to states [1, 1 + N / hop, W]."""

    def __init__(self, sizes: TemporalSizes, *, dac: Any) -> None:
        super().__init__(sizes)
        from transformers.models.dac.modeling_dac import DacEncoder

        self.embedder = nn.ModuleDict(
            {
                "dac_encoder": DacEncoder(dac),
                "bottleneck": nn.Conv1d(dac.hidden_size, dac.codebook_dim, 1),
                "data_proj": nn.Linear(dac.codebook_dim, sizes.width),
            }
        )

    def embed(self, sound: Tensor) -> Tensor:
        """Tokens [1, N / hop, W]."""
        codes = self.embedder["bottleneck"](self.embedder["dac_encoder"](sound))
        out: Tensor = self.embedder["data_proj"](codes.transpose(1, 2))
        return out


class AudioVideoEncoder(TemporalEncoder):
    """States of sound and of pictures to states [1, 1 + A, W]: as many as there are of sound."""

    def __init__(self, sizes: TemporalSizes, *, audio_width: int, video_width: int) -> None:
        super().__init__(sizes)
        self.embedder = nn.ModuleDict(
            {
                "video_proj": nn.Conv1d(video_width, audio_width, 1),
                "video_norm": nn.LayerNorm(audio_width),
                "concat_modality_proj": nn.Linear(2 * audio_width, sizes.width),
                "data_proj": nn.Linear(sizes.width, sizes.width),
            }
        )

    def embed(self, audio: Tensor, video: Tensor) -> Tensor:
        """Tokens [1, A, W] of states [1, A, W1] and [1, F, W2], both without their class token.

        To each moment of sound the picture at its part of the clip, by nearest neighbour.
        """
        projected = self.embedder["video_proj"](video.transpose(1, 2))
        aligned = nn.functional.interpolate(projected, size=audio.shape[1], mode="nearest")
        normed = self.embedder["video_norm"](aligned.transpose(1, 2))
        joined = self.embedder["concat_modality_proj"](torch.cat([audio, normed], dim=-1))
        out: Tensor = self.embedder["data_proj"](joined)
        return out


@dataclass(frozen=True)
class Heard:
    """Unit vectors [1, D] of a clip."""

    audio: Tensor
    audio_video: Tensor


class PerceptionAudio(nn.Module):
    """The hearing half of a PE-AV checkpoint, with random weights.

    Attributes:
        rate: samples a second.
        hop: samples a token.
    """

    def __init__(self, state: Mapping[str, Tensor], *, files: Mapping[str, bytes]) -> None:
        """Build for a checkpoint's tensors, as `hearing_tensors` names them, and its small files.

        Raises:
            WeightsError: files or tensors it cannot be built from.
        """
        super().__init__()
        config = hearing_config(files)
        sound = temporal_sizes(state, prefix=AUDIO, config=config.audio)
        both = temporal_sizes(state, prefix=BOTH, config=config.both)
        joint = "embedder.concat_modality_proj.weight"
        _, joined = shape_of(state, BOTH + joint, axes=2)
        _, seen, _ = shape_of(state, BOTH + "embedder.video_proj.weight", axes=3)
        if joined != 2 * sound.width:
            raise WeightsError(f"{joint} takes {joined} numbers; there are twice {sound.width}")
        dac = _dac(config.dac)
        self.rate, self.hop = audio_rate(files), int(np.prod(dac.downsampling_ratios))
        heads = {}
        for name in _HEADS:
            out, width = shape_of(state, f"encoder.{name}.proj.weight", axes=2)
            heads[name] = ContrastiveHead(width, out=out)
        self.encoder: Any = nn.ModuleDict(
            {
                "audio_encoder": AudioEncoder(sound, dac=dac),
                "audio_video_encoder": AudioVideoEncoder(
                    both, audio_width=sound.width, video_width=seen
                ),
                **heads,
            }
        )
        self.requires_grad_(False)

    def encode(self, samples: Tensor, *, video: Tensor) -> Heard:
        """Vectors of one clip.

        Args:
            samples: float32 [N], one channel at `rate`, full scale is 1.
            video: states [1, 1 + F, W] of its pictures, as PE-AV's video encoder gives them.

        Raises:
            InputError: no sample, or more than there are positions.
        """
        sound = whole_hops(samples, hop=self.hop)[None, None]
        if sound.shape[2] > MOST_TOKENS * self.hop:
            raise InputError(
                f"sound of {len(samples) / self.rate:.0f} s: the model has positions for"
                f" {MOST_TOKENS * self.hop / self.rate:.0f} s"
            )
        encoder, both = self.encoder["audio_encoder"], self.encoder["audio_video_encoder"]
        heard = encoder(encoder.embed(sound.to(encoder.output.weight.dtype)))
        joint = both(both.embed(heard[:, 1:], video[:, 1:]))
        return Heard(self._vector("audio_head", heard), self._vector("audio_video_head", joint))

    def texts(self, states: Tensor) -> Heard:
        """Vectors [T, D] to search each column with, of states [T, L, W] of the text tower."""
        return Heard(
            self._vector("text_audio_head", states), self._vector("text_audio_video_head", states)
        )

    def _vector(self, head: str, states: Tensor) -> Tensor:
        return unit(at_least_fp32(self.encoder[head](states[:, 0])))


def hearing_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a PE-AV checkpoint that `PerceptionAudio` takes, under its names."""
    taken = {}
    for key, tensor in state.items():
        name = key.removeprefix("encoder.").removeprefix("audio_model.")
        if name.startswith(("audio_encoder.", "audio_video_encoder.", *(f"{h}." for h in _HEADS))):
            taken[f"encoder.{name}"] = tensor
    return taken


def whole_hops(samples: Tensor, *, hop: int) -> Tensor:
    """Samples [N] mirrored at their end to a multiple of `hop`, as the authors pad them.

    Raises:
        InputError: no sample.
    """
    if not len(samples):
        raise InputError("sound of no sample: a clip without sound has no vector of it")
    places = np.pad(np.arange(len(samples)), (0, -len(samples) % hop), "reflect")
    return samples[torch.from_numpy(places).to(samples.device)]


def _dac(given: Mapping[str, Any]) -> Any:
    import transformers

    make: Any = transformers.DacConfig
    try:
        return make(**{**_DAC, **{k: x for k, x in given.items() if k != "model_type"}})
    except Exception as error:  # whatever the file makes it do
        raise WeightsError(f"config.json's dac_config makes no DAC: {error}") from error
