"""Hugging Face Datasets: a folder as on its hub, Parquet and a card that names the splits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from reelvec.errors import RequestError
from reelvec.storage.parquet_writer import open_parquet
from reelvec.storage.tables import described
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.parquet_files import export_metadata
from reelvec.tasks.exports.source import ExportSource

__all__ = ["HuggingFaceDataset"]

_FRAMES = pa.schema(
    [
        ("video_id", pa.string()),
        ("split", pa.string()),
        ("frame_index", pa.int64()),
        ("seconds", pa.float64()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ]
)
_IMAGES = {
    "video_id": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
    "frame_index": {"dtype": "int64", "_type": "Value"},
    "seconds": {"dtype": "float64", "_type": "Value"},
    "image": {"_type": "Image"},
}
_FRAMES_A_GROUP = 256
_MOST_SPLITS = 100
_CARD = """---
configs:
{configs}---
# {run}

Embeddings that Reelvec made; `export.json` says of what, and with which weights.
"""


class HuggingFaceDataset(Target):
    """Configurations `videos`, `captions` and `frames`, each with the splits of the corpus.

    Videos of no split are in one called `all`. Frames are JPEGs, as they are stored or at
    quality 95; a row a frame.
    """

    name = "hf-dataset"
    opened_by = 'datasets.load_dataset("OUT", "videos", split="test")'
    takes = frozenset({"frames"})

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One pass over each table, and one over the frames."""
        names = _split_names(source)
        used: dict[str, list[str]] = {}
        for table in source.tables:
            schema = described(source.schema(table), export_metadata(source))
            with _BySplit(folder / table, schema, names) as writer:
                for rows in source.rows(table):
                    writer.write(rows)
            used[table] = writer.used
        if settings.frames and source.reader is not None:
            info = {"huggingface": json.dumps({"info": {"features": _IMAGES}})}
            schema = described(_FRAMES, {**export_metadata(source), **info})
            with _BySplit(folder / "frames", schema, names) as writer:
                for rows in _frames(source):
                    writer.write(rows)
            used["frames"] = writer.used
        (folder / "README.md").write_text(_card(source, used), "utf-8")


class _BySplit:
    """A Parquet file a split, in a folder."""

    def __init__(self, folder: Path, schema: pa.Schema, names: Mapping[str, str]) -> None:
        folder.mkdir()
        self._folder, self._schema, self._names = folder, schema, names
        self._files = ExitStack()
        self._writers: dict[str, pq.ParquetWriter] = {}

    @property
    def used(self) -> list[str]:
        """Names of the splits that have rows."""
        return list(self._writers)

    def write(self, rows: pa.Table) -> None:
        """Rows to their files, in their order."""
        for split in pc.unique(rows.column("split")).to_pylist():
            name = self._names[split]
            if name not in self._writers:
                writer = open_parquet(self._folder / f"{name}.parquet", self._schema)
                self._writers[name] = self._files.enter_context(writer)
            mine = rows.filter(pc.equal(rows.column("split"), split))
            self._writers[name].write_table(mine.cast(self._schema))

    def __enter__(self) -> _BySplit:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


def _split_names(source: ExportSource) -> dict[str, str]:
    """Split -> what it is called there: word characters alone.

    Raises:
        RequestError: two would be called the same, or there are too many.
    """
    splits: dict[str, None] = {}
    for table in source.tables:
        for rows in source.rows(table, ["split"]):
            splits |= dict.fromkeys(pc.unique(rows.column("split")).to_pylist())
    names = {split: re.sub(r"\W", "_", split) or "all" for split in splits}
    twice = len(set(names.values())) < len(names)
    if twice or len(names) > _MOST_SPLITS:
        why = "two have one name there" if twice else f"at most {_MOST_SPLITS} have a file each"
        raise RequestError(
            f"the splits ({', '.join(sorted(splits))[:200]}) cannot be those of a Hugging Face"
            f" dataset: {why}; export to parquet, which keeps them as a column"
        )
    return names


def _frames(source: ExportSource) -> Iterator[pa.Table]:
    """A row a frame, of every video that has frames."""
    reader = source.reader
    held: dict[str, list[Any]] = {name: [] for name in _FRAMES.names}
    for rows in source.rows("videos", ["video_id", "split", "clip_key"]):
        for video in rows.to_pylist() if reader is not None else ():
            key = video["clip_key"]
            if reader is None or key not in reader:
                continue
            pictures = zip(reader.jpegs(key), reader.pts(key), reader.frame_index(key), strict=True)
            for picture, seconds, index in pictures:
                held["video_id"].append(video["video_id"])
                held["split"].append(video["split"])
                held["frame_index"].append(int(index))
                held["seconds"].append(float(seconds))
                held["image"].append({"bytes": bytes(picture), "path": None})
                if len(held["image"]) >= _FRAMES_A_GROUP:
                    yield pa.table(held, schema=_FRAMES)
                    held = {name: [] for name in _FRAMES.names}
    yield pa.table(held, schema=_FRAMES)


def _card(source: ExportSource, used: Mapping[str, list[str]]) -> str:
    configs = [
        {
            "config_name": table,
            "data_files": [
                {"split": split, "path": f"{table}/{split}.parquet"} for split in splits
            ],
        }
        for table, splits in used.items()
        if splits
    ]
    return _CARD.format(
        configs=yaml.safe_dump(configs, sort_keys=False), run=source.run.replace("\n", " ")
    )
