"""What is exported: the tables of one run at one snapshot, and what says where they are from."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.tables import iter_tables
from reelvec.tasks.ahead import ahead
from reelvec.tasks.searching.places import VideosById, frames_by_clip

__all__ = ["ExportSource", "is_vector"]

_ROWS = 16_384
"""Rows handed on at once: parts of a few hundred rows would make slow files."""


@dataclass(frozen=True, eq=False)
class ExportSource:
    """One run, each of its artifacts at one snapshot."""

    run: str
    """Its name."""
    identifier: str
    """Of this run alone, 8 hex digits."""
    config: PipelineConfig
    embeddings: Snapshot
    corpus: Snapshot
    frames: Snapshot | None = None
    """None: the run has none."""

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """`videos`, and `captions` where the run has any.

        Raises:
            MissingArtifactError: the run has embedded nothing.
        """
        there = [name for name in ("videos", "captions") if self.embeddings.parts(name)]
        if "videos" not in there:
            raise MissingArtifactError(
                f"the run ({self.run}, {self.identifier}) has no embedded video to export;"
                " `reelvec failures` says what became of its videos",
                path=self.embeddings.artifact.folder,
            )
        return tuple(there)

    def schema(self, table: str) -> pa.Schema:
        """Columns of a table, without metadata; the first is the key."""
        part = self.embeddings.parts(table)[0]
        return pq.read_schema(part.path).remove_metadata()

    def count(self, table: str) -> int:
        """Rows in force."""
        return self.embeddings.rows_of(table)

    def rows(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Rows in force, in the order of publication, as many at once as one likes to write.

        Superseded rows are never among them, and failed videos have none. The next ones are read in
        a thread while these are written.

        Raises:
            IntegrityError: a part is not what its receipt promised.
        """
        return ahead(self._rows(table, columns), name="export")

    def _rows(self, table: str, columns: Sequence[str] | None) -> Generator[pa.Table, None, None]:
        schema = self.schema(table)
        names = list(schema.names if columns is None else columns)
        wanted = pa.schema([schema.field(name) for name in names])
        held: list[pa.Table] = []
        for piece in iter_tables(self.embeddings, table, columns=names):
            held.append(piece.replace_schema_metadata(None).cast(wanted))
            if sum(map(len, held)) >= _ROWS:
                yield pa.concat_tables(held).combine_chunks()
                held = []
        if held:
            yield pa.concat_tables(held).combine_chunks()

    def vector_columns(self, table: str) -> tuple[str, ...]:
        """Columns with a vector a row."""
        return tuple(one.name for one in self.schema(table) if is_vector(one.type))

    def check_vector(self, target: str) -> None:
        """Refuse families that have no one vector a row.

        Raises:
            RequestError: names the columns there are, and what takes them.
        """
        for table in self.tables:
            if EMBEDDING not in self.schema(table).names:
                there = ", ".join(self.vector_columns(table))
                raise RequestError(
                    f"--to {target} takes one vector a row, and the family"
                    f" ({self.config.model.family}) has none: its {table} have {there}. Export to"
                    " parquet, numpy, lancedb, hf-dataset or webdataset, which take every column"
                )

    @cached_property
    def videos(self) -> VideosById:
        """The corpus, by id."""
        return VideosById(self.corpus)

    @cached_property
    def reader(self) -> FrameReader | None:
        """The stored frames; None: the run has none."""
        return None if self.frames is None else frames_by_clip(self.frames)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the rows are and were made with: plain JSON, the same for the same snapshots."""
        identity = self.embeddings.artifact.identity
        named = {"embeddings": self.embeddings, "corpus": self.corpus, "frames": self.frames}
        return {
            "reelvec": version("reelvec"),
            "run": self.run,
            "identifier": self.identifier,
            "weights": identity.get("weights", ""),
            "model": self.config.model.model_dump(mode="json", include=_MODEL),
            "artifacts": {
                kind: {"fingerprint": one.artifact.fingerprint, "snapshot": one.number}
                for kind, one in named.items()
                if one is not None
            },
            "identity": identity,
            "tables": {table: self.count(table) for table in self.tables},
        }

    def close(self) -> None:
        """Closes shards of frames."""
        if self.__dict__.get("reader") is not None:
            self.__dict__["reader"].close()


_MODEL = {"family", "architecture", "max_frames", "max_words"}


def is_vector(kind: pa.DataType) -> bool:
    """A list column: so many numbers a row."""
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind))
