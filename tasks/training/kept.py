"""What frozen encoders gave for texts and clips, read back by content: batches without a tower.

Clips are known by their key, texts by the hash of what they say: equal ones share a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import Tensor

from reelvec.models.family import RetrievalModel
from reelvec.models.features import Columns, TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily, head_of
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.features import FeatureReader
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.items import Item

__all__ = ["CAPTIONS", "VIDEOS", "FeatureBatch", "KeptFeatures", "text_key"]

CAPTIONS, VIDEOS = "captions", "videos"
"""Tables of a features artifact."""


def text_key(text: str) -> str:
    """What a text is known by: xxh3-128 of it, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(text.encode())


@dataclass(frozen=True)
class KeptFeatures:
    """The features of one encoder.

    Attributes:
        texts: the table of captions.
        videos: the table of clips.
        text_columns: shapes of a text's tensors.
        video_columns: shapes of a clip's.
    """

    texts: FeatureReader
    videos: FeatureReader
    text_columns: Columns
    video_columns: Columns

    @classmethod
    def open(
        cls, snapshot: Snapshot, *, text_columns: Columns, video_columns: Columns
    ) -> KeptFeatures:
        """Those of a snapshot; nothing is read yet."""
        texts, videos = FeatureReader(snapshot, CAPTIONS), FeatureReader(snapshot, VIDEOS)
        return cls(texts, videos, text_columns, video_columns)

    @classmethod
    def of_backbone(cls, ref: SnapshotRef | None, model: RetrievalModel) -> KeptFeatures | None:
        """What a model's frozen backbone gave; None: it is computed from frames."""
        if ref is None:
            return None
        head = head_of(model)
        return cls.open(
            ref.open(),
            text_columns=head.backbone_text_columns,
            video_columns=head.backbone_video_columns,
        )

    def of_texts(self, texts: Sequence[str]) -> TextFeatures:
        """A row a text, in their order; at least one.

        Raises:
            MissingArtifactError: a text has no features.
        """
        found = self.texts.gather([text_key(text) for text in texts])
        return TextFeatures.from_columns(_tensors(found), columns=self.text_columns)

    def batch(self, items: Sequence[Item], *, pairs: int) -> FeatureBatch:
        """These rows of a global batch of `pairs`."""
        texts = self.of_texts([item.text for item in items])
        return FeatureBatch(texts, self.of_clips([item.clip_key for item in items]), pairs)

    def of_clips(self, keys: Sequence[str]) -> VideoFeatures:
        """A row a clip, in their order; at least one.

        Raises:
            MissingArtifactError: a clip has no features.
        """
        found = self.videos.gather(keys)
        return VideoFeatures.from_columns(_tensors(found), columns=self.video_columns)


@dataclass(frozen=True)
class FeatureBatch:
    """This process's rows of a global batch, as a frozen backbone gave them.

    Attributes:
        text, video: of the n texts and clips.
        pairs: rows of the global batch, over all processes.
    """

    text: TextFeatures
    video: VideoFeatures
    pairs: int

    def __len__(self) -> int:
        return len(self.text)

    def rows(self, chosen: slice) -> FeatureBatch:
        """Some of the rows."""
        return FeatureBatch(self.text.index(chosen), self.video.index(chosen), self.pairs)

    def encoded(
        self, model: RetrievalModel, noise: Mapping[str, Tensor], *, device: torch.device
    ) -> tuple[TextFeatures, VideoFeatures]:
        """Their features: the head alone is computed."""
        if not isinstance(model, HeadFamily):
            raise TypeError(f"{type(model).__name__} has no head of its own")
        text = model.text_head(self.text.to(device=device))
        return text, model.video_head(self.video.to(device=device), **noise)


def _tensors(columns: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(values) for name, values in columns.items()}
