"""Embedding Atlas: one Parquet file with a point, neighbours and a picture a video."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.models.projection import principal_axes
from reelvec.models.ranking.neighbours import neighbours_of
from reelvec.storage.parquet_writer import open_parquet
from reelvec.storage.tables import described
from reelvec.tasks.exports.captions import CaptionsByVideo, captions_by_video
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.numpy_files import matrix_of
from reelvec.tasks.exports.parquet_files import export_metadata
from reelvec.tasks.exports.source import ExportSource

__all__ = ["AtlasMap"]

_SIDE = 96
"""Of a thumbnail, pixels at most."""
_QUALITY = 80
_ROWS = 1024
_TEXTS = 5
"""Captions of a video that its text holds."""

Matrix = npt.NDArray[np.float32]

_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("path", pa.string()),
        ("projection_x", pa.float32()),
        ("projection_y", pa.float32()),
    ]
)
_NEIGHBOURS = pa.field(
    "neighbors", pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
)
_PICTURE = pa.field("thumbnail", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


class AtlasMap(Target):
    """`videos.parquet`: id, split, captions, path, projection_x and _y, neighbors, thumbnail."""

    name = "atlas"
    opened_by = (
        "embedding-atlas 'OUT/videos.parquet' --x projection_x --y projection_y"
        " --neighbors neighbors --text text --image thumbnail"
    )
    takes = frozenset({"frames", "projection", "neighbours"})

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """The vectors lie in a mapped file meanwhile; the products of all pairs take the time."""
        source.check_vector(self.name)
        vectors = _mapped(source, folder / ".vectors.npy")
        points = _points_of(vectors, how=settings.projection)
        fields = [*_SCHEMA]
        fields += [_NEIGHBOURS] if settings.neighbours else []
        fields += [_PICTURE] if settings.frames and source.reader is not None else []
        schema = described(pa.schema(fields), export_metadata(source))
        with (
            captions_by_video(source) as captions,
            open_parquet(folder / "videos.parquet", schema) as writer,
        ):
            near = _neighbours(vectors, count=settings.neighbours)
            for start, rows in _blocks(source):
                columns = _columns(source, rows, captions=captions, schema=schema)
                here = points[start : start + rows.num_rows]
                columns |= {"projection_x": here[:, 0], "projection_y": here[:, 1]}
                if settings.neighbours:
                    columns["neighbors"] = [next(near) for _ in range(rows.num_rows)]
                arrays = [pa.array(columns[field.name], field.type) for field in schema]
                writer.write_table(pa.table(arrays, schema=schema))
        (folder / ".vectors.npy").unlink()


def _points_of(vectors: Matrix, *, how: str = "pca") -> npt.NDArray[np.float32]:
    """Points [N, 2] of vectors [N, D], by their principal axes or by UMAP.

    Raises:
        RequestError: UMAP is not installed.
    """
    if how == "pca":

        def blocks() -> Iterable[Matrix]:
            return (vectors[at : at + _ROWS] for at in range(0, len(vectors), _ROWS))

        projection = principal_axes(blocks)
        return np.concatenate([projection.of(block) for block in blocks()])
    try:
        import umap
    except ImportError:
        raise RequestError(
            "--projection umap needs the package umap-learn (pip install umap-learn), which is"
            " not installed; or take pca"
        ) from None
    near = min(15, len(vectors) - 1)
    if near < 2:
        raise RequestError(f"UMAP needs 3 videos at least, there are {len(vectors)}; take pca")
    reducer = umap.UMAP(n_neighbors=near, metric="cosine", init="random", random_state=0)
    return np.asarray(reducer.fit_transform(np.asarray(vectors)), np.float32)


def _mapped(source: ExportSource, path: Path) -> Matrix:
    """float32 [N, D] in the order of the table, mapped from a file."""
    width = source.schema("videos").field(EMBEDDING).type.list_size
    shape = (source.count("videos"), width)
    if not shape[0]:
        raise RequestError("the run has no embedded video, so there is no map to draw")
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    row = 0
    for rows in source.rows("videos", [EMBEDDING]):
        values = matrix_of(rows.column(EMBEDDING), name=EMBEDDING)
        matrix[row : row + len(values)] = values
        row += len(values)
    matrix.flush()
    return matrix


def _neighbours(vectors: Matrix, *, count: int) -> Iterator[dict[str, Any]]:
    for ids, distances in neighbours_of(vectors, count=count) if count else ():
        for mine, far in zip(ids.tolist(), distances.tolist(), strict=True):
            yield {"ids": mine, "distances": far}


def _blocks(source: ExportSource) -> Iterator[tuple[int, pa.Table]]:
    """(first row, rows), few at once: each may have a picture."""
    start = 0
    for rows in source.rows("videos", ["video_id", "split", "clip_key"]):
        for at in range(0, rows.num_rows, _ROWS):
            some = rows.slice(at, _ROWS)
            yield start, some
            start += some.num_rows


def _columns(
    source: ExportSource, rows: pa.Table, *, captions: CaptionsByVideo, schema: pa.Schema
) -> dict[str, Any]:
    ids = rows.column("video_id").to_pylist()
    found = [source.videos.find(one) for one in ids]
    columns: dict[str, Any] = {
        "video_id": ids,
        "split": rows.column("split").to_pylist(),
        "text": ["\n".join(captions.texts(one)[:_TEXTS]) for one in ids],
        "path": ["" if video is None else video.path for video in found],
    }
    if "thumbnail" in schema.names:
        keys = rows.column("clip_key").to_pylist()
        columns["thumbnail"] = [_thumbnail(source, key) for key in keys]
    return columns


def _thumbnail(source: ExportSource, key: str) -> dict[str, Any] | None:
    """The middle frame, small."""
    reader = source.reader
    if reader is None or key not in reader:
        return None
    frames = reader.frames(key)
    picture = Image.fromarray(np.asarray(frames[len(frames) // 2]))
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return {"bytes": file.getvalue(), "path": None}
