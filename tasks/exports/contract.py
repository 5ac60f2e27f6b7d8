"""What every kind of export is: it fills an empty folder with the rows of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from reelvec.tasks.exports.source import ExportSource

__all__ = ["ExportSettings", "Target"]


class ExportSettings(BaseModel):
    """What a person may choose; a target refuses what it does not take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: bool = True
    """Take the stored frames along, as JPEGs, where the run has any."""
    projection: Literal["pca", "umap"] = "pca"
    """How vectors become points of a plane."""
    neighbours: int = Field(default=15, ge=0, le=1000)
    """Nearest videos named for each video; 0: none."""


class Target(ABC):
    """One kind of export.

    It takes every row in force and no other, in the order of the table; a row keeps its id. Memory
    stays at some thousand rows whatever their number.
    """

    name: ClassVar[str]
    """What `--to` takes."""
    opened_by: ClassVar[str]
    """How its result is opened: a line for a person."""
    package: ClassVar[str] = ""
    """Module without which it cannot be written; of the extra `exports`."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Fields of `ExportSettings` it looks at."""

    @abstractmethod
    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """Fill the folder, which is there and empty.

        Raises:
            RequestError: the run has not what this target needs.
        """
