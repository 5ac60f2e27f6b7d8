"""Encoders whose features are kept: the frozen backbone of a training, and its teachers, whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.configs.schema import ModelConfig, PipelineConfig, TrainConfig
from reelvec.models.conversion.weights import to_legacy_fp16
from reelvec.models.family import RetrievalModel
from reelvec.models.features import Columns, TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily, backbone_of, head_of
from reelvec.models.registry import validate_options
from reelvec.storage.weights.checkpoints import weights_hash
from reelvec.tasks.embedding.encoder import Encoder, choose_device
from reelvec.tasks.training.spec import Teacher
from reelvec.tasks.training.starting import hashes_of_start, starting_model
from reelvec.tasks.training.teachers import load_teacher

__all__ = ["FeatureSource", "features_identity", "open_source"]

FEATURES_RECIPE = 1
_OPENING = Lock()
_INPUT = {"max_words", "max_frames", "frame_selection", "eval_frame_order"}


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """What gives features, named in any process: plain values only."""

    model: str
    """ModelConfig as JSON; its weights are what training starts from."""
    train: str
    """TrainConfig as JSON."""
    start: str
    """Hash of these weights: a file may be exchanged for another; "": none is read."""
    teacher: str = ""
    """Teacher as JSON, whose whole model it is; "": the frozen backbone of `model`."""

    @classmethod
    def backbone(cls, config: PipelineConfig) -> FeatureSource:
        """The frozen backbone of a run."""
        start = hashes_of_start(config.model)
        return cls(
            config.model.model_dump_json(),
            config.train.model_dump_json(),
            start=f"{start.weights or ''}{start.policy or ''}",
        )

    @classmethod
    def of_teacher(cls, teacher: Teacher, config: PipelineConfig) -> FeatureSource:
        """A teacher of a run."""
        own = cls.backbone(config)
        return replace(own, teacher=teacher.model_dump_json())


class Backbone(RetrievalModel):
    """The backbone of a model as an encoder: its columns are what the head reads."""

    def __init__(self, model: HeadFamily, *, bf16: bool = False) -> None:
        super().__init__(
            image_size=model.image_size, max_words=model.max_words, max_frames=model.max_frames
        )
        self.model = model
        self._bf16 = bf16

    @property
    def text_columns(self) -> Columns:
        """As the head reads them."""
        return self.model.backbone_text_columns

    @property
    def video_columns(self) -> Columns:
        """As the head reads them."""
        return self.model.backbone_video_columns

    @property
    def logit_scale(self) -> Tensor:
        """The model's; a backbone scores nothing."""
        return self.model.logit_scale

    @property
    def is_dot_product(self) -> bool:
        """False: there is no score."""
        return False

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """As the model's."""
        return self.model.tokenize(texts)

    def prepare(self, frames: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """As the model's."""
        return self.model.prepare(frames, mask)

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """`text_backbone`; its words reach up to max_words."""
        with self._precision(tokens):
            given = dict(self.model.text_backbone(tokens).tensors)
        if "words" in given:
            missing = self.max_words - given["words"].shape[1]
            given["words"] = nn.functional.pad(given["words"], (0, 0, 0, missing))
        return TextFeatures(given)

    def encode_video(self, frames: Tensor, mask: Tensor, **extra: Any) -> VideoFeatures:
        """`video_backbone`."""
        with self._precision(frames):
            return self.model.video_backbone(frames, mask, **extra)

    def _precision(self, like: Tensor) -> AbstractContextManager[object]:
        """As training encodes."""
        if not self._bf16:
            return nullcontext()
        return torch.autocast(like.device.type, dtype=torch.bfloat16)


def open_source(source: FeatureSource) -> Encoder:
    """The model a source names, on its device, in evaluation mode; loaded once at a time.

    Raises:
        OptionsError: a model without a head of its own.
        WeightsError, MissingArtifactError: its weights are damaged, or gone.
    """
    with _OPENING:
        return _open_source(source)


@lru_cache(maxsize=2)
def _open_source(source: FeatureSource) -> Encoder:
    options = TrainConfig.model_validate_json(source.train)
    device = torch.device(choose_device(options.device))
    if source.teacher:
        teacher = Teacher.model_validate_json(source.teacher)
        return Encoder(load_teacher(teacher).to(device), teacher.model, device)
    config = ModelConfig.model_validate_json(source.model)
    model = head_of(starting_model(config, seed=options.seed))
    if options.precision == "legacy_fp16":
        to_legacy_fp16(model)
    backbone = Backbone(model, bf16=options.precision == "bf16")
    return Encoder(backbone.to(device).eval(), config, device)


def features_identity(source: FeatureSource, *, frames: str) -> dict[str, Any]:
    """Identity of what a source gives: weights by hash, and how texts and clips are shown to it.

    No corpus: a row depends on a text or a clip alone, so that corpora and heads share it.

    Args:
        source: what gives it.
        frames: fingerprint of the frames artifact.
    """
    encoder = open_source(source)
    model, config = encoder.model, encoder.config
    columns = {"captions": model.text_columns, "videos": model.video_columns}
    identity: dict[str, Any] = {
        "kind": "features",
        "recipe": FEATURES_RECIPE,
        "frames": frames,
        "input": config.model_dump(mode="json", include=_INPUT),
        "columns": {
            table: {name: list(column.shape) for name, column in shapes.items()}
            for table, shapes in columns.items()
        },
    }
    if not isinstance(model, Backbone):
        teacher = Teacher.model_validate_json(source.teacher)
        whole = config.model_dump(mode="json", include={"family", "options"})
        return identity | {"of": "model", "weights": teacher.weights_hash, "model": whole}
    head = model.model
    identity |= {
        "of": "backbone",
        "weights": weights_hash(backbone_of(head, head.state_dict())),
        "head_dim": head.architecture.head_dim,
        "options": validate_options(config.family, config.options).of_backbone,
    }
    precision = TrainConfig.model_validate_json(source.train).precision
    return identity if precision == "fp32" else identity | {"precision": precision}
