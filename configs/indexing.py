"""An approximate index: what whoever makes it may choose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reelvec.configs.corpora import Options

__all__ = ["IndexConfig"]


class IndexConfig(Options):
    """How vectors are kept in an index, and how much of the exact answers must be found."""

    numbers: Literal["int8", "float32"] = "int8"
    """How the numbers of a vector are kept; what is found is scored from the table's own."""
    dimensions: int | None = Field(default=None, ge=1)
    """Only the first so many numbers of a vector, made unit again; None: all."""
    recall: float = Field(default=0.95, gt=0, le=1)
    """Of the ten best by the exact score, the part that must be found on average."""
    queries: int | None = Field(default=None, ge=2)
    """Captions asked to find how far to look, and as many others to measure what is found; None:
    200, and 20 where a score is no product of vectors."""
