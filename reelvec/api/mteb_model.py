"""A run as a video model of mteb: its table has the videos it knows, its model encodes others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from reelvec.api.encoding import RunEncoder
from reelvec.api.table import array_of
from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.storage.tables import iter_tables
from reelvec.storage.video.content import hash_file
from reelvec.tasks.exports.mteb_results import model_facts
from reelvec.tasks.exports.source import ExportSource
from reelvec.tasks.searching.files import clip_in

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

__all__ = ["MtebModel"]

Vectors = npt.NDArray[np.float32]


class MtebModel:
    """What `mteb.evaluate` takes (its `EncoderProtocol`); `run.mteb_model()` makes one.

    A text is encoded by the run's model. A video is known by its bytes: the vector of one that the
    run has embedded stands in its table; another is decoded in a sandbox, as the run's videos
    were, and encoded.

    Attributes:
        encoded: how many videos were not in the table so far.
    """

    def __init__(self, source: ExportSource, encoder: RunEncoder) -> None:
        source.check_vector("mteb")
        self._source = source
        self._encoder = encoder
        self.encoded = 0

    @cached_property
    def mteb_model_meta(self) -> ModelMeta:
        """Its name, the hash of its weights and what it takes, as mteb files results.

        Raises:
            RequestError: mteb is not installed.
        """
        try:
            from mteb.models.model_meta import ModelMeta
        except ImportError:
            raise RequestError(
                "mteb is not installed, which evaluates this model: pip install mteb"
            ) from None
        return ModelMeta(**model_facts(self._source))

    def encode(self, inputs: Any, **_: Any) -> Vectors:
        """Vectors [N, D] of what mteb gives to encode, in its order, as a table has them.

        Args:
            inputs: its DataLoader; `inputs.dataset` is a Hugging Face data set whose column
                `video`, or else `text`, is encoded.

        Raises:
            RequestError: neither column is there, or a video cannot be decoded: mteb has no
                place for a video without a vector.
        """
        columns = inputs.dataset.column_names
        if "video" in columns:
            return self._videos(inputs.dataset)
        if "text" not in columns:
            raise RequestError(
                f"mteb asks for columns {', '.join(columns)}; this model takes video or text"
            )
        texts = [text for batch in inputs for text in batch["text"]]
        return np.asarray(self._encoder.texts(texts, column=EMBEDDING), np.float32)

    def similarity(self, first: Any, second: Any) -> torch.Tensor:
        """Cosines [N, M]."""
        return _tensor(first) @ _tensor(second).T

    def similarity_pairwise(self, first: Any, second: Any) -> torch.Tensor:
        """Cosines [N] of row and row."""
        return (_tensor(first) * _tensor(second)).sum(-1)

    def _videos(self, dataset: Any) -> Vectors:
        rows = [self._vector(one["video"]) for one in _undecoded(dataset)]
        return np.stack(rows).astype(np.float32)

    def _vector(self, video: Mapping[str, Any] | str) -> npt.NDArray[np.generic]:
        with _file_of(video) as path:
            found = self._embedded.get(hash_file(path))
            if found is not None:
                return found
            clip = clip_in(path, options=self._source.config.extract)
        self.encoded += 1
        (vector,) = self._encoder.clips([clip], column=EMBEDDING)
        return np.asarray(vector)

    @cached_property
    def _embedded(self) -> dict[str, npt.NDArray[np.generic]]:
        """Vectors of the table by clip_key: of a whole file, the hash of its bytes."""
        found: dict[str, npt.NDArray[np.generic]] = {}
        for rows in iter_tables(self._source.embeddings, "videos", columns=["clip_key", EMBEDDING]):
            keys, vectors = rows.column("clip_key").to_pylist(), array_of(rows.column(EMBEDDING))
            found |= zip(keys, vectors, strict=True)
        return found


def _undecoded(dataset: Any) -> Any:
    """The data set with its videos as files or bytes: mteb's own reading needs torchcodec."""
    from datasets import Video

    if isinstance(dataset.features["video"], Video):
        return dataset.cast_column("video", Video(decode=False))
    return dataset


@contextmanager
def _file_of(video: Mapping[str, Any] | str) -> Iterator[Path]:
    """The file of a video, or one with its bytes for as long as it is looked at."""
    held: Mapping[str, Any] = {"path": video} if isinstance(video, str) else video
    if (content := held.get("bytes")) is None:
        yield Path(held["path"])
        return
    name = Path(held.get("path") or "video").name
    with tempfile.TemporaryDirectory(prefix="reelvec-mteb-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield path


def _tensor(vectors: Any) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=-1)
