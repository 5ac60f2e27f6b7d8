"""The encoder of one trained checkpoint, opened in any process, and in what precision it computes.

In bf16 the matrix products of the towers are; what a family does with their output (headers, Gram
matrices, unit lengths) stays in fp32, as do scores. A process keeps the last encoder it opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TypeVar

import torch
from torch import Tensor, nn

from reelvec.configs.schema import ModelConfig, PipelineConfig
from reelvec.models.family import RetrievalModel, at_least_fp32
from reelvec.models.features import Features, TextFeatures, VideoFeatures
from reelvec.models.frozen.clips import Clip, ClipEncoder
from reelvec.models.heads import HeadFamily
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.finished import Trained
from reelvec.tasks.training.train import load_trained

__all__ = ["Encoder", "EncoderRef", "choose_device", "open_encoder"]

F = TypeVar("F", bound=Features)
_OPENING = Lock()


@dataclass(frozen=True, slots=True)
class EncoderRef:
    """Names an encoder in any process: plain values only."""

    checkpoint: SnapshotRef
    """Its best checkpoint is taken."""
    model: str
    """ModelConfig as JSON."""
    weights: str
    """Hash of that checkpoint's tensors: a store that was made anew has the same names."""
    device: str = "auto"
    precision: str = "fp32"
    compile: bool = False

    @classmethod
    def to(cls, trained: Trained, *, config: PipelineConfig) -> EncoderRef:
        """The encoder of a finished training."""
        return cls.of(config, checkpoint=trained.ref, weights=trained.weights_hash)

    @classmethod
    def of(cls, config: PipelineConfig, *, checkpoint: SnapshotRef, weights: str) -> EncoderRef:
        """A run's encoder, of a checkpoint whose tensors have this hash."""
        embed = config.embed
        return cls(
            checkpoint,
            config.model.model_dump_json(),
            weights,
            device=embed.device,
            precision=embed.precision,
            compile=embed.compile,
        )


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model ready to encode, and how it sees its input."""

    model: RetrievalModel
    config: ModelConfig
    device: torch.device
    precision: str = "fp32"

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """The model's, in this precision."""
        model = self.model
        if isinstance(model, HeadFamily):
            with self._computing():
                given = model.text_backbone(tokens)
            return model.text_head(_widened(given))
        with self._computing():
            return _widened(model.encode_text(tokens))

    def encode_video(self, frames: Tensor, mask: Tensor, **extra: Tensor) -> VideoFeatures:
        """The model's, in this precision."""
        model = self.model
        if isinstance(model, HeadFamily):
            with self._computing():
                given = model.video_backbone(frames, mask, **extra)
            return model.video_head(_widened(given))
        with self._computing():
            return _widened(model.encode_video(frames, mask, **extra))

    def encode_clips(self, clips: Sequence[Clip]) -> VideoFeatures:
        """The model's, which sees a clip as a clip, in this precision; of clips of one shape."""
        if not isinstance(self.model, ClipEncoder):
            raise TypeError(f"a {type(self.model).__name__} sees frames: encode_video")
        with self._computing():
            return _widened(self.model.encode_clips(clips))

    def _computing(self) -> AbstractContextManager[object]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def _widened(features: F) -> F:
    return type(features)({name: at_least_fp32(x) for name, x in features.tensors.items()})


def open_encoder(ref: EncoderRef) -> Encoder:
    """Load the model a reference names, in evaluation mode, on its device.

    Shards that begin at once wait for the one that loads it: each would load it for itself.
    """
    with _OPENING:
        return _open_encoder(ref)


@lru_cache(maxsize=1)
def _open_encoder(ref: EncoderRef) -> Encoder:
    config = ModelConfig.model_validate_json(ref.model)
    device = torch.device(choose_device(ref.device))
    model = load_trained(ref.checkpoint, model=config).to(device).eval()
    if ref.compile:
        compile_blocks(model)
    return Encoder(model, config, device, ref.precision)


def compile_blocks(model: nn.Module) -> None:
    """Compile each block of each tower, in place: blocks that are alike share what is compiled."""
    for part in model.modules():
        for block in part if isinstance(part, nn.ModuleList) else ():
            block.compile()


def choose_device(name: str) -> str:
    """`auto` as cuda where there is one, else cpu; any other name as it is."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
