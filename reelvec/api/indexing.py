"""Make an approximate index, and what a person should know about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reelvec.api.recorded import RecordedArtifacts
from reelvec.configs import PipelineConfig
from reelvec.configs.indexing import IndexConfig
from reelvec.tasks.scoring.split_rows import MissingColumnError
from reelvec.tasks.searching.approximate import keep_settings, kept_settings
from reelvec.tasks.searching.searcher import Searcher

if TYPE_CHECKING:
    from reelvec.api.encoding import RunEncoder

__all__ = ["IndexFacts", "make_index"]


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


def make_index(
    recorded: RecordedArtifacts,
    config: PipelineConfig,
    *,
    settings: IndexConfig | None = None,
    whole: bool = False,
) -> IndexFacts:
    """Make the index of a run's approximate searches where it is not there.

    Args:
        recorded: the artifacts of the run.
        config: its configuration.
        settings: kept for every index of this table from now on; None: those kept last.
        whole: of whole videos, also where there are windows.

    Raises:
        RequestError: FAISS is not installed, or an index of these settings would not find what is
            wanted.
    """
    started = time.monotonic()
    embeddings = recorded.snapshot("embeddings")
    wanted = settings or kept_settings(embeddings)
    searcher = Searcher(embeddings, corpus=recorded.snapshot("corpus"), whole=whole, index=wanted)

    def encoder() -> RunEncoder:
        from reelvec.api.encoding import RunEncoder

        return RunEncoder(recorded, config, device=None)

    try:
        shortlist = searcher.approximate(wanted).shortlist
    except MissingColumnError:
        shortlist = searcher.two_stages(encoder().scoring, wanted).shortlist
    if settings is not None:
        keep_settings(embeddings, settings)
    cut, facts = wanted.dimensions, shortlist.facts
    return IndexFacts(
        fingerprint=facts["fingerprint"],
        table=searcher.table,
        rows=embeddings.rows_of(searcher.table),
        stages=facts["identity"]["stages"],
        numbers=wanted.numbers,
        dimensions=cut,
        trained=None if cut is None else encoder().is_cut_at(cut),
        lists=facts["lists"],
        probes=facts["probes"],
        shortlist=shortlist.length,
        recall=shortlist.recall,
        codes_alone=facts["codes_alone"],
        queries=facts["queries"],
        asked=facts["asked"],
        seconds=time.monotonic() - started,
    )
