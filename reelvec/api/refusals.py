"""What is said where a run has not what was asked for, and what makes it."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import pyarrow.parquet as pq

from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING, HEARD
from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.corpus.ledger import LedgerRow

__all__ = ["check_column", "check_seen", "why_no_frames", "why_no_report", "why_no_video"]


def why_no_video(video_id: str, *, known: Collection[str], run: str) -> str:
    """The corpus has no such video; the nearest are named."""
    near = difflib.get_close_matches(str(video_id), known, n=3)
    there = f"the nearest are {', '.join(near)}" if near else "see table('corpus_videos')"
    return f"no video is called ({video_id}) in the run ({run}); {there}"


def why_no_frames(row: LedgerRow) -> str:
    """The video of this row has no frames."""
    why = ", ".join(filter(None, (row.reason, row.message)))
    return (
        f"the video ({row.video_id}) has no frames: it is {row.status}"
        f"{f' ({why})' if why else ''}; `reelvec failures` lists such videos, `reelvec retry`"
        " tries them again"
    )


def why_no_report(run: str) -> str:
    """No page is drawn of the run."""
    return f"no page is drawn of the run ({run}); `reelvec report --run {run}` draws it"


def check_column(embeddings: Snapshot, column: str, *, approximate: bool) -> None:
    """Refuse what cannot be searched by.

    Raises:
        RequestError: says what can.
    """
    if column == EMBEDDING:
        return
    parts = embeddings.parts("videos")[:1]
    there = [name for part in parts for name in pq.read_schema(part.path).names if name in HEARD]
    if column not in there:
        names = ", ".join([EMBEDDING, *there])
        remedy = "" if there else "; a run whose model hears (model.options.hears) has audio too"
        raise RequestError(f"the run has no column ({column}) to search by, only {names}{remedy}")
    if approximate:
        raise RequestError(f"the column ({column}) has no index; its searches are exact")


def check_seen(column: str) -> None:
    """Refuse to look for a file by what only videos of the run have.

    Raises:
        RequestError: the column is of sound.
    """
    if column != EMBEDDING:
        raise RequestError(
            f"a file is compared by its pictures alone, not by its {column}; leave out the column"
        )
