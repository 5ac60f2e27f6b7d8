"""FiftyOne: one JSON file as `Dataset.to_json` writes it, a sample a video."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from reelvec.models.features import EMBEDDING
from reelvec.tasks.exports.captions import captions_by_video
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.numpy_files import matrix_of
from reelvec.tasks.exports.source import ExportSource

__all__ = ["FiftyOneJson"]

_FIELD = "fiftyone.core.fields"
_FIELDS = {
    "video_id": f"{_FIELD}.StringField",
    "split": f"{_FIELD}.StringField",
    "content_hash": f"{_FIELD}.StringField",
    "outcome": f"{_FIELD}.StringField",
    "captions": f"{_FIELD}.ListField({_FIELD}.StringField)",
    "start_seconds": f"{_FIELD}.FloatField",
    "end_seconds": f"{_FIELD}.FloatField",
}


class FiftyOneJson(Target):
    """`samples.json`: path, split (a tag, too), captions, window and vector of each video.

    The videos stay where they are.
    """

    name = "fiftyone-json"
    opened_by = 'fiftyone.Dataset.from_json("OUT/samples.json")'

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """Sample by sample."""
        del settings
        vectors = [name for name in source.vector_columns("videos") if name == EMBEDDING]
        fields = _FIELDS | dict.fromkeys(vectors, f"{_FIELD}.VectorField")
        head = {
            "name": source.run,
            "media_type": "video",
            "num_samples": source.count("videos"),
            "sample_fields": fields,
            "frame_fields": {},
            "info": {"reelvec": source.facts},
        }
        text = json.dumps(head, ensure_ascii=False)
        columns = ["video_id", "split", "content_hash", "outcome", *vectors]
        with (
            captions_by_video(source) as captions,
            (folder / "samples.json").open("w", encoding="utf-8") as file,
        ):
            file.write(f'{text[:-1]}, "samples": [')
            comma = ""
            for rows in source.rows("videos", columns):
                matrices = {name: matrix_of(rows.column(name), name=name) for name in vectors}
                for at, row in enumerate(rows.drop_columns(vectors).to_pylist()):
                    sample = _sample(source, row, captions.texts(row["video_id"]))
                    sample |= {name: _array(values[at]) for name, values in matrices.items()}
                    file.write(f"{comma}\n{json.dumps(sample, ensure_ascii=False)}")
                    comma = ","
            file.write("\n]}\n")


def _sample(source: ExportSource, row: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    video = source.videos.find(row["video_id"])
    return {
        "filepath": "" if video is None else video.path,
        "tags": [row["split"]] if row["split"] else [],
        "metadata": None,
        "_media_type": "video",
        **row,
        "captions": texts,
        "start_seconds": None if video is None else video.start_seconds,
        "end_seconds": None if video is None else video.end_seconds,
        "frames": {},
    }


def _array(values: np.ndarray) -> dict[str, Any]:
    """As FiftyOne keeps a vector: what `numpy.save` writes, compressed, in extended JSON."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    packed = base64.b64encode(zlib.compress(file.getvalue(), 1)).decode()
    return {"$binary": {"base64": packed, "subType": "00"}}
