"""What is said where a run has not what was asked for, and what makes it."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from reelvec.tasks.corpus.ledger import LedgerRow

__all__ = ["why_no_frames", "why_no_report", "why_no_video"]

_WHERE_IDS = "ids are as `reelvec search` and `reelvec failures` show them"


def why_no_video(video_id: str, *, known: Collection[str], run: str) -> str:
    """The corpus has no such video; the nearest are named."""
    near = difflib.get_close_matches(str(video_id), known, n=3)
    there = f"the nearest are {', '.join(near)}" if near else _WHERE_IDS
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
