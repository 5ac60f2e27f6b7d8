"""Which videos are scored, and why the others are not: corpus and tables compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import ReelvecError
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome
from reelvec.tasks.corpus.ingest import Corpus
from reelvec.tasks.scoring.rows import CoverageRow
from reelvec.tasks.scoring.split_rows import in_split

__all__ = ["CoverageError", "coverage_rows"]

_ORDER = ("train", "val", "test")
_SHOWN = 3


class CoverageError(ReelvecError):
    """Corpus and tables are not about the same videos."""


def coverage_rows(corpus: Corpus, *, embeddings: Snapshot, split: str) -> list[CoverageRow]:
    """One row a split, the scored one flagged; train, val and test first.

    Raises:
        CoverageError: a video or caption of the corpus is in neither table nor ledger, or a table
            holds one the corpus does not.
    """
    outcomes = embeddings.live("videos")
    texts = embeddings.live("captions")
    captions = Counter(caption.video_id for caption in corpus.captions)
    _refuse_strangers("videos", {v.video_id for v in corpus.videos}, outcomes, embeddings)
    _refuse_strangers("captions", {c.caption_id for c in corpus.captions}, texts, embeddings)
    splits = sorted({video.split for video in corpus.videos} or {split}, key=_place)
    return [_row(corpus, name, outcomes, captions, scored=in_split(name, split)) for name in splits]


def _row(
    corpus: Corpus,
    split: str,
    outcomes: Mapping[str, Outcome],
    captions: Mapping[str, int],
    *,
    scored: bool,
) -> CoverageRow:
    mine = [video.video_id for video in corpus.videos if video.split == split]
    usable = [key for key in mine if outcomes[key].status != Status.QUARANTINED]
    seen = Counter(str(outcomes[key].status) for key in mine)
    return CoverageRow(
        split=split,
        planned=len(mine),
        ok=seen[Status.OK],
        salvaged=seen[Status.SALVAGED],
        quarantined=seen[Status.QUARANTINED],
        with_captions=sum(captions.get(key, 0) > 0 for key in usable),
        captions=sum(captions.get(key, 0) for key in mine),
        captions_scored=sum(captions.get(key, 0) for key in usable),
        scored=scored,
    )


def _place(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER), split)


def _refuse_strangers(
    what: str, corpus: set[str], table: Mapping[str, Outcome], embeddings: Snapshot
) -> None:
    missing, extra = sorted(corpus - set(table)), sorted(set(table) - corpus)
    if missing or extra:
        named = ", ".join((missing or extra)[:_SHOWN])
        raise CoverageError(
            f"{embeddings!r} and the corpus are not about the same {what}: {len(missing)} of the"
            f" corpus are neither in the table nor in its ledger, {len(extra)} of the table are not"
            f" in the corpus (first: {named}); run the stages extract and embed again"
        )
