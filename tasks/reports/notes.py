"""What a reader of a report must know before its numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reelvec.storage.corpora.check import FEW_VIDEOS
from reelvec.storage.reasons import Status
from reelvec.tasks.corpus.ledger import ledger
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.rows import CoverageRow

__all__ = ["notes_of"]


def notes_of(sources: ReportSources, coverage: Sequence[CoverageRow]) -> tuple[str, ...]:
    """What a reader must know before the numbers, the run's own notes first."""
    config, train = sources.config, sources.config.train
    scored = [row for row in coverage if row.scored]
    usable = sum(row.ok + row.salvaged for row in scored)
    seen, unseen = _seen_and_unseen(sources, splits={row.split for row in scored})
    notes = [config.notes, *sources.notes]
    if seen:
        notes.append(
            f"{seen} of the {usable} scored videos were trained on: the numbers show what was"
            " memorised, not how well the model does on videos it has not seen."
        )
    if unseen:
        notes.append(
            f"{unseen} videos of the training split came after this model was trained and it has"
            " not seen them; train.when_corpus_grows=retrain trains it anew."
        )
    if train.epochs and train.selection_split == "test":
        notes.append(
            "The best epoch was chosen on the test split, as the papers do; the numbers flatter."
        )
    if not train.epochs and not config.model.weights:
        notes.append("The weights are random: nothing was trained and no archive was given.")
    notes += _size_notes(sources, coverage)
    return tuple(dict.fromkeys(note for note in notes if note))


def _size_notes(sources: ReportSources, coverage: Sequence[CoverageRow]) -> list[str]:
    """Whether as much is scored as the numbers need to mean something."""
    split = sources.config.evaluate.split
    scored = [row for row in coverage if row.scored]
    usable = sum(row.ok + row.salvaged for row in scored)
    lost = sum(row.quarantined for row in scored)
    notes = []
    if not sum(row.planned for row in scored):
        names = ", ".join(row.split for row in coverage if row.planned)
        notes.append(
            f"No video is in the split {split!r}: nothing was scored. The corpus has"
            f" {names or 'no videos'}; set evaluate.split to one of them."
        )
    elif not sum(row.captions_scored for row in scored):
        notes.append(f"The split {split!r} has no captions: nothing was scored.")
    elif usable < FEW_VIDEOS:
        few = "Only 1 video is" if usable == 1 else f"Only {usable} videos are"
        notes.append(
            f"{few} scored: one of them found or not moves R@1 by"
            f" {100 / usable:.0f} points, and the intervals say little."
        )
    if lost:
        notes.append(
            f"{lost} of the {usable + lost} videos of the split could not be used and are not"
            " scored; each stands under coverage with its reason."
        )
    return notes


def _seen_and_unseen(sources: ReportSources, *, splits: Collection[str]) -> tuple[int, int]:
    """Scored videos that were trained on, and videos of the training split that were not.

    One without a caption is nothing to train on, whenever it came.
    """
    seen, others = 0, set()
    if not sources.trained_on:
        return 0, 0
    for row in ledger(sources.corpus, frames=sources.frames):
        if row.status in (Status.OK, Status.SALVAGED):
            known = row.clip_key in sources.trained_on
            seen += known and row.split in splits
            if not known and row.split == "train":
                others.add(row.video_id)
    captioned = {caption.video_id for caption in sources.corpus.captions} if others else set()
    return seen, len(others & captioned)
