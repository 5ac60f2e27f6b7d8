"""What a person should know about an approximate index."""

from __future__ import annotations

from dataclasses import dataclass

from reelvec.configs.indexing import IndexConfig
from reelvec.tasks.searching.shortlist import Shortlist

__all__ = ["IndexFacts", "facts_of"]


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """An index of one table at one snapshot, and what it misses."""

    fingerprint: str
    """Of its identity: the table, its snapshot and the settings."""
    table: str
    """videos or windows."""
    rows: int
    """Of the table."""
    stages: bool
    """Whether the score looks at the query, so that the vectors only choose what is scored."""
    numbers: str
    dimensions: int | None
    """The first so many numbers of a vector are kept; None: all."""
    trained: bool | None
    """Whether the model was trained for vectors that are cut so; None: they are not cut."""
    lists: int
    probes: int
    """Of these lists, looked at for each query."""
    shortlist: int
    """Rows that are scored exactly for ten answers."""
    recall: float
    """Of the ten best by the exact score, the part that is found on average."""
    codes_alone: float
    """The same where all rows are compared by what the index keeps and none is scored exactly."""
    queries: int
    """With so many it was measured."""
    asked: str
    """What they were: captions, or videos."""
    seconds: float
    """That this call took."""


def facts_of(
    shortlist: Shortlist, settings: IndexConfig, *, rows: int, trained: bool | None, seconds: float
) -> IndexFacts:
    """Of an index that is open.

    Args:
        shortlist: the index.
        settings: it was made by.
        rows: of the table.
        trained: see `IndexFacts`.
        seconds: likewise.
    """
    facts, identity = shortlist.facts, shortlist.facts["identity"]
    return IndexFacts(
        fingerprint=facts["fingerprint"],
        table=identity["table"],
        rows=rows,
        stages=identity["stages"],
        numbers=settings.numbers,
        dimensions=settings.dimensions,
        trained=trained,
        lists=facts["lists"],
        probes=facts["probes"],
        shortlist=shortlist.length,
        recall=facts["recall"],
        codes_alone=facts["codes_alone"],
        queries=facts["queries"],
        asked=facts["asked"],
        seconds=seconds,
    )
