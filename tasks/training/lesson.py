"""What teachers say of a batch: their scores of its pairs, and their weights of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reelvec.configs.training import DistillationConfig
from reelvec.models.family import RetrievalModel
from reelvec.models.features import Features, TextFeatures, VideoFeatures
from reelvec.models.training.distillation import Scores, distilled_loss
from reelvec.models.training.losses import Terms
from reelvec.tasks.training.processes import Group

__all__ = ["Lesson", "Taught"]


@dataclass(frozen=True)
class Taught:
    """A teacher before a batch.

    Attributes:
        model: it, in evaluation mode.
        text: its features of the texts.
        video: its features of their videos.
    """

    model: RetrievalModel
    text: TextFeatures
    video: VideoFeatures

    def scores(self, mine: slice) -> Scores:
        """Of these rows with all others."""
        text, video = self.text.index(mine), self.video.index(mine)
        return Scores(
            rows=[(1.0, self.model.similarity(text, self.video))],
            columns=[(1.0, self.model.similarity(self.text, video).T)],
            frame_weights=self.model.pair_frame_weights(text, video),
        )


@dataclass(frozen=True)
class Lesson:
    """What a step's student is taught.

    Attributes:
        teachers: each with its features of the rows: this process's, or after `gathered` of all.
        options: how they are followed.
    """

    teachers: Sequence[Taught]
    options: DistillationConfig

    def gathered(self, group: Group, *, sizes: Sequence[int]) -> Lesson:
        """The same with the rows of all processes."""

        def whole(features: Features) -> dict[str, Tensor]:
            tensors = features.to(device=group.device).tensors
            return {name: group.gather(x, sizes=sizes) for name, x in tensors.items()}

        return replace(
            self,
            teachers=[
                Taught(t.model, TextFeatures(whole(t.text)), VideoFeatures(whole(t.video)))
                for t in self.teachers
            ],
        )

    def loss(
        self, rows: Terms, columns: Terms, video: VideoFeatures, *, mine: slice, share: float
    ) -> Tensor:
        """This process's part of the loss.

        Args:
            rows: the student's scores of its own texts with all videos.
            columns: of its own videos with all texts.
            video: its own videos' features.
            mine: which rows these are.
            share: of the batch that they are.
        """
        with torch.no_grad():
            taught = [teacher.scores(mine) for teacher in self.teachers]
        student = Scores(rows, columns, video.tensors.get("frame_weights"))
        found = distilled_loss(student, taught, first=mine.start, options=self.options)
        part: Tensor = found.total * share
        return part
