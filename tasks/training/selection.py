"""Validation: retrieval metrics of the selection split, encoded by all processes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import torch
from torch import Tensor

from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.heads import head_of
from reelvec.models.ranking.metrics import evaluate_similarity
from reelvec.models.sampling.seen import SeenFrames
from reelvec.tasks.training.data import ClipLoader
from reelvec.tasks.training.items import Item
from reelvec.tasks.training.kept import KeptFeatures
from reelvec.tasks.training.processes import Group

__all__ = ["SelectionSet"]

_TEXTS_A_BLOCK = 256


class SelectionSet:
    """Captions and clips of the selection split."""

    def __init__(
        self,
        items: Sequence[Item],
        *,
        model: RetrievalModel,
        seen: SeenFrames,
        batch: int,
        kept: KeptFeatures | None = None,
    ) -> None:
        self.keys = list(dict.fromkeys(item.clip_key for item in items))
        place = {key: index for index, key in enumerate(self.keys)}
        self.owners = [place[item.clip_key] for item in items]
        self.tokens = model.tokenize([item.text for item in items]) if items else torch.empty(0)
        self._seen = seen
        self._said = [item.text for item in items]
        self._batch = batch
        self._kept = kept

    def __len__(self) -> int:
        return len(self.owners)

    @torch.no_grad()
    def evaluate(
        self, model: RetrievalModel, loader: ClipLoader, *, group: Group
    ) -> dict[str, float]:
        """Text-to-video R@1, R@5, R@10 (percent), MdR and MnR; empty without captions.

        Every process encodes its share and all must call this; the first one's answer counts.
        """
        if not len(self):
            return {}
        model.eval()
        try:
            text = _gathered(self._texts(model, group), rows=len(self), group=group)
            video = _gathered(self._videos(model, loader, group), rows=len(self.keys), group=group)
        finally:
            model.train()
        if not group.is_first:
            return {}
        texts, videos = TextFeatures(text), VideoFeatures(video)

        def blocks() -> Iterator[Tensor]:
            for first in range(0, len(texts), _TEXTS_A_BLOCK):
                yield model.similarity(texts.index(slice(first, first + _TEXTS_A_BLOCK)), videos)

        metrics = evaluate_similarity(
            blocks, text_to_video=self.owners, n_videos=len(self.keys)
        ).t2v.as_dict()
        return {name: metrics[name] for name in ("R@1", "R@5", "R@10", "MdR", "MnR")}

    def _texts(self, model: RetrievalModel, group: Group) -> dict[str, Tensor]:
        rows = _share(len(self), group)
        device = next(model.parameters()).device
        if self._kept is not None:
            given = self._kept.of_texts([self._said[row] for row in rows])
            return dict(head_of(model).text_head(given.to(device=device)).tensors)
        parts = [
            model.encode_text(self.tokens[rows[first : first + _TEXTS_A_BLOCK]].to(device))
            for first in range(0, len(rows), _TEXTS_A_BLOCK)
        ]
        return dict(TextFeatures.cat(parts).tensors)

    def _videos(self, model: RetrievalModel, loader: ClipLoader, group: Group) -> dict[str, Tensor]:
        keys = [self.keys[row] for row in _share(len(self.keys), group)]
        batches = [keys[first : first + self._batch] for first in range(0, len(keys), self._batch)]
        device = next(model.parameters()).device
        if self._kept is not None:
            heads = [
                head_of(model).video_head(self._kept.of_clips(batch).to(device=device))
                for batch in batches
            ]
            return dict(VideoFeatures.cat(heads).tensors)
        parts = []
        with closing(loader.batches(batches, seen=self._seen)) as clips:
            for batch in clips:
                group.heart.works("encoding videos of the selection split")
                here = batch.to(device)
                parts.append(model.encode_video(**model.prepare(here.frames, here.mask)))
        return dict(VideoFeatures.cat(parts).tensors)


def _share(rows: int, group: Group) -> list[int]:
    """Equal shares: the last row is encoded again where they do not come out even."""
    each = -(-rows // group.world)
    first = group.rank * each
    return [min(row, rows - 1) for row in range(first, first + each)]


def _gathered(share: dict[str, Tensor], *, rows: int, group: Group) -> dict[str, Tensor]:
    each = -(-rows // group.world)
    sizes = [each] * group.world
    return {name: group.gather(tensor, sizes=sizes)[:rows] for name, tensor in share.items()}
