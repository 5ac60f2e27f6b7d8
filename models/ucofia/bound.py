"""How high UCoFiA's score can be: its videos and frames, and patches of the greatest length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reelvec.models.bounding import Asked, Kept, ScoreBound, finite_rows, gamma
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import Near

__all__ = ["UcofiaBound"]


class UcofiaBound(ScoreBound):
    """Every weight of UCoFiA is a softmax's last, so a weighed sum is at most its highest member.

    The video's product is a product; frames give no more than the highest of them
    (specs/more-heads.md 6.5). A word and a patch give no more than the product of their lengths;
    patches carry no scale, so that this costs little where the others' is large.

    Args:
        model: whose score it is.
        coarse: `global_mat_weight` and `global_mat_weight_1`, [D, D].
    """

    def __init__(self, model: RetrievalModel, *, coarse: tuple[Tensor, Tensor]) -> None:
        super().__init__(model)
        self._of_text, self._of_video = (x.detach().cpu().double() for x in coarse)

    @property
    def made_with(self) -> Sequence[str | Tensor]:
        """The videos' matrix."""
        return ["ucofia 1", self._of_video]

    def kept(self, video: VideoFeatures) -> Kept:
        """The video times its matrix, the frames; lengths of video, the same, longest patch."""
        whole, frames, pixels = video["video"].double(), video["frames"], video["pixels"]
        sure = finite_rows(whole, frames, pixels)
        whole = whole.masked_fill(~sure[:, None], 0.0)
        moved = whole @ self._of_video
        longest = torch.linalg.vector_norm(pixels.double(), dim=2).amax(dim=1)
        facts = [torch.linalg.vector_norm(whole, dim=1), torch.linalg.vector_norm(moved, dim=1)]
        facts.append(longest.masked_fill(~sure, 0.0))
        vectors = {
            "video": moved[:, None],
            "frames": frames.masked_fill(~sure[:, None, None], 0.0),
        }
        return Kept(vectors, torch.stack(facts, dim=1), sure)

    def asked(self, text: TextFeatures) -> Asked:
        """The sentence times its matrix, and as it is; the longest word."""
        sentence = text["sentence"].double()
        moved = sentence @ self._of_text
        longest = torch.linalg.vector_norm(text["words"].double(), dim=2).amax()
        lost = torch.linalg.vector_norm(sentence) * torch.linalg.vector_norm(self._of_text)
        facts = {"word": longest, "moved": torch.linalg.vector_norm(moved), "lost": lost}
        facts["words"] = torch.tensor(float(text["words"].shape[1]))
        return Asked({"video": moved, "frames": sentence}, facts)

    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """A third of the product, the highest frame, and the longest word and patch."""
        whole, frames = near["video"], near["frames"]
        (video, moved, pixel), given = facts.unbind(dim=1), asked.facts
        width, count = asked.rows["video"].shape[1], frames.whole.shape[2]
        # the products of matrices are computed in float32, twice, and then that of both
        lost = (
            given["lost"] * moved
            + given["moved"] * torch.linalg.vector_norm(self._of_video) * video
        )
        coarse = whole.highest() + gamma(1.01 * width + 16) * (lost + given["moved"] * moved)
        by_frame = frames.highest() + gamma(width + 2 * count + 64) * frames.size
        operations = width + 2 * float(given["words"]) + 8 * count + 128
        fine = given["word"] * pixel * (1 + 4 * gamma(operations))
        size = self.scale * (given["moved"] * moved + frames.size) + fine
        bound: Tensor = (self.scale * (coarse + by_frame) + fine) / 3 + gamma(16) * size
        return bound
