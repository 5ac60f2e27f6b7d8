"""Compare the files of a corpus with the table of their windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.reasons import Status
from reelvec.storage.records import Video
from reelvec.storage.stored_rows import StoredRows
from reelvec.tasks.corpus.clips import clip_outcomes
from reelvec.tasks.embedding.rows import WINDOWS, FileRow

__all__ = ["WindowDifferences", "window_differences"]


@dataclass(frozen=True)
class WindowDifferences:
    """Files whose windows are to be written, and rows in force that are stale or orphaned."""

    due: list[FileRow]
    stale: list[str]


def window_differences(
    corpus: Snapshot | None, *, frames: Snapshot | None, base: Snapshot | None
) -> WindowDifferences:
    """Compare the files of the corpus with the table; opens no frame.

    Args:
        corpus: whose files are cut; those that are not decoded yet are left out.
        frames: decides the outcome of files that were listed well.
        base: the tables in force.
    """
    planned = {row.signature: row for row in _files(corpus, frames=frames)}
    in_force: set[str] = set()
    stale: list[str] = []
    for ledger in iter_ledger(base, WINDOWS):
        for key, detail in zip(ledger["key"], ledger["detail"], strict=True):
            if detail in planned:
                in_force.add(detail)
            else:
                stale.append(key)
    due = [row for signature, row in planned.items() if signature not in in_force]
    return WindowDifferences(due, stale)


def _files(corpus: Snapshot | None, *, frames: Snapshot | None) -> Iterator[FileRow]:
    """The files with an outcome, in the order of the corpus."""
    found: dict[str, FileRow] = {}
    for video in StoredRows(corpus, "videos", record=Video) if corpus is not None else ():
        row = FileRow.of(video)
        name = row.clip_key or row.key
        found[name] = found[name].also(row) if name in found else row
    clips = clip_outcomes(frames)
    places = clips.places(list(found)).tolist()
    for (name, row), place in zip(found.items(), places, strict=True):
        if row.status == Status.QUARANTINED:
            yield row
        elif place >= 0:
            yield replace(row, part=clips.part(place))
        elif name in clips.others:
            of, number = clips.others[name]
            yield replace(
                row,
                status=of.status,
                reason=of.reason,
                message=of.message,
                part=clips.part(number),
            )
