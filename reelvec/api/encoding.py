"""The model that made a run's tables, for texts and clips of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from reelvec.api.recorded import RecordedArtifacts
from reelvec.api.table import array_of
from reelvec.configs import PipelineConfig
from reelvec.configs.decoding import FrameForm
from reelvec.errors import RequestError
from reelvec.models.whole_vectors import Shortened
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.video.transform import fit_all
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.embedding.encoder import EncoderRef, open_encoder
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos, with_vectors
from reelvec.tasks.scoring.logits import Columns, Scoring, dot_product, one_thread, scoring_of
from reelvec.tasks.scoring.split_rows import tensors_of
from reelvec.tasks.training.committed import best_checkpoint, checkpoints
from reelvec.tasks.training.finished import finished

__all__ = ["RunEncoder"]


class RunEncoder:
    """The model of one run. The process keeps the last one it opened, and its thread count.

    Args:
        recorded: the artifacts of the run.
        config: its configuration.
        device: cpu, cuda, cuda:1; None: as configured.

    Raises:
        RequestError: no such device.
        MissingArtifactError: the store has lost the model.
    """

    def __init__(
        self, recorded: RecordedArtifacts, config: PipelineConfig, *, device: str | None
    ) -> None:
        self._options = config.embed
        checkpoint = _checkpoint_of(recorded)
        weights = best_checkpoint(checkpoints(checkpoint.open())).weights_hash
        ref = EncoderRef.of(config, checkpoint=checkpoint, weights=weights)
        if device is not None:
            ref = replace(ref, device=_known_device(device))
        self._encoder = open_encoder(ref)

    @cached_property
    def scoring(self) -> Scoring:
        """How the model scores rows of the tables: by cosine, where a score is one product."""
        model = self._encoder.model
        return dot_product() if model.is_dot_product else scoring_of(model)

    def is_cut_at(self, dimensions: int) -> bool:
        """Whether the model was trained for vectors of the first so many numbers alone."""
        model = self._encoder.model
        return isinstance(model, Shortened) and dimensions in model.cut_widths

    def query(self, text: str) -> Columns:
        """What `search` takes for one text."""
        (text,) = _checked_texts([text])
        model = self._encoder.model
        with one_thread(), torch.inference_mode():
            tokens = model.tokenize([text]).to(self._encoder.device)
            return with_vectors(model, self._encoder.encode_text(tokens)).columns()

    def texts(self, texts: Sequence[str], *, column: str) -> npt.NDArray[np.generic]:
        """One column of texts, [N, D] in the tables' type."""
        with one_thread():
            columns = encode_captions(self._encoder, _checked_texts(texts), options=self._options)
        return _column(columns, column)

    def frames(
        self, clips: Sequence[npt.NDArray[np.uint8]], *, column: str
    ) -> npt.NDArray[np.generic]:
        """One column of clips, [N, D] in the tables' type."""
        own = self._encoder.model.pixels
        side = None if own.fit == "native" else own.size
        return self.clips(_checked_clips(clips, side=side), column=column)

    def clips(self, clips: Sequence[ClipFrames], *, column: str) -> npt.NDArray[np.generic]:
        """One column of clips in whatever form they are, [N, D] in the tables' type."""
        source = _GivenClips(clips, form=self._encoder.model.pixels)
        with one_thread():
            columns = encode_videos(self._encoder, source, source.keys, options=self._options)
        return _column(columns, column)

    def nearest_frame(self, query: Columns, clip: ClipFrames) -> int:
        """Which frame of a clip, each a clip by itself, scores best; the first of equals."""
        frames = [_only(clip, place) for place in range(len(clip.frames))]
        source = _GivenClips(frames, form=self._encoder.model.pixels)
        with one_thread(), torch.inference_mode():
            columns = encode_videos(self._encoder, source, source.keys, options=self._options)
            values = tensors_of(pa.table(columns), self.scoring.video_columns)
            videos = {n: v.float() if v.is_floating_point() else v for n, v in values.items()}
            return int(self.scoring.similarity(query, videos)[0].argmax())


def _only(clip: ClipFrames, place: int) -> ClipFrames:
    """A clip of one of its frames."""
    here = slice(place, place + 1)
    return replace(
        clip,
        frames=clip.frames[here],
        pts_seconds=clip.pts_seconds[here],
        frame_index=clip.frame_index[here],
    )


class _GivenClips:
    """Clips in memory as the encoder takes frames from a store (`FrameSource`)."""

    def __init__(self, clips: Sequence[ClipFrames], *, form: FrameForm) -> None:
        self._clips = {str(number): clip for number, clip in enumerate(clips)}
        self._form = form
        self.keys = list(self._clips)

    def lengths(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.array([len(self._clips[key].frames) for key in keys], np.int64)

    def picture(self, key: str) -> tuple[int, int]:
        return self._clips[key].picture

    def ahead(self, keys: Sequence[str]) -> None:
        """Nothing to do: they are here."""

    def clip(self, key: str, picks: npt.NDArray[np.int64]) -> ClipFrames:
        whole = self._clips[key]
        return replace(
            whole,
            frames=whole.frames[picks],
            pts_seconds=whole.pts_seconds[picks],
            frame_index=whole.frame_index[picks],
        )

    def gather(
        self, keys: Sequence[str], *, picks: Sequence[npt.NDArray[np.int64]], out: np.ndarray
    ) -> None:
        for row, (key, chosen) in enumerate(zip(keys, picks, strict=True)):
            frames, filled = self._clips[key].frames[chosen], out[row, : len(chosen)]
            if frames.shape == filled.shape:
                filled[...] = frames
            else:
                fit_all(frames, form=self._form, out=filled)
            out[row, len(chosen) :] = 0


def _checked_clips(clips: Sequence[npt.NDArray[np.uint8]], *, side: int | None) -> list[ClipFrames]:
    """A caller's arrays as clips of one frame a second; side None: of any height and width.

    Raises:
        RequestError: frames of another shape or type.
    """
    checked = []
    for number, clip in enumerate(clips):
        shape, kind = np.shape(clip), getattr(clip, "dtype", type(clip).__name__)
        sides = (side, side) if side is not None else shape[1:3]
        if kind != np.uint8 or len(shape) != 4 or 0 in shape or shape[1:] != (*sides, 3):
            height, width = (side, side) if side is not None else ("H", "W")
            raise RequestError(
                f"clip {number} is {kind}{list(shape)}; each must be uint8[T, {height}, {width},"
                " 3], RGB, with a frame at least"
            )
        checked.append(
            ClipFrames(str(number), clip, np.arange(1.0 * len(clip)), np.arange(len(clip)))
        )
    return checked


def _checkpoint_of(recorded: RecordedArtifacts) -> SnapshotRef:
    """The checkpoint whose weights made the run's tables: the one recorded, or another of them."""
    wanted: str | None = None
    if recorded.has("embeddings"):
        wanted = recorded.snapshot("embeddings").artifact.identity["weights"]
    if recorded.has("checkpoint"):
        snapshot = recorded.snapshot("checkpoint")
        if wanted in (None, best_checkpoint(checkpoints(snapshot)).weights_hash):
            return SnapshotRef.to(snapshot)
    for artifact in Artifact.all(recorded.root):
        trained = finished(artifact.latest()) if artifact.kind == "checkpoint" else None
        if trained is not None and trained.weights_hash == wanted:
            return trained.ref
    raise MissingArtifactError(
        f"the model of the run is not in the store ({recorded.root.uri}) any more: no checkpoint"
        f" has the weights {wanted}; `reelvec run` makes it anew",
        path=recorded.root.uri,
    )


def _known_device(name: str) -> str:
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise RequestError(f"no device is called ({name}); e.g. cpu, cuda or cuda:1") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise RequestError(f"device ({name}): PyTorch finds no GPU here; use cpu")
    return name


def _checked_texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise RequestError(f"texts ({texts!s:.80}) must be a sequence of strings, e.g. ['a cat']")
    for text in texts:
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RequestError(f"the text ({text!a:.80}) is no valid Unicode; type it as UTF-8")
    return list(texts)


def _column(columns: Mapping[str, pa.Array], name: str) -> npt.NDArray[np.generic]:
    if name not in columns:
        raise RequestError(f"this model gives no column ({name}); it gives {', '.join(columns)}")
    return array_of(columns[name])
