"""The gate: whether new tables may take the place of those that are searched.

Four things are measured on both, none of which opens a video or a model: how many usable videos
are lost, recall on the captions that both have (with the interval of the difference), how many of a
video's nearest neighbours stay, and the lengths of the vectors. What cannot be measured (no
captions, a score that is no product of vectors) is said, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelvec.configs.upkeep import GateConfig
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.digests import DigestSet, digests
from reelvec.storage.naming import ChosenRun, places_of
from reelvec.storage.roots import Root
from reelvec.storage.tables import iter_tables
from reelvec.tasks.migration.nearest import common_videos, lengths_of, part_that_stays
from reelvec.tasks.scoring.paired import interval_of_mean, paired_ranks
from reelvec.tasks.scoring.split_rows import MissingColumnError
from reelvec.tasks.searching.vectors import VectorIndex

__all__ = ["Check", "GateReport", "GateTables", "judge"]

_VIDEOS = 10
"""A tenth as many videos as captions are asked: each is compared with all others."""


@dataclass(frozen=True)
class GateTables:
    """The tables of a run at the snapshots they are read at."""

    name: str
    identifier: str
    embeddings: Snapshot
    corpus: Snapshot
    evaluation: Snapshot | None

    @classmethod
    def of(cls, root: Root, chosen: ChosenRun) -> GateTables:
        """The tables of a run that was chosen.

        Raises:
            MissingArtifactError: it has none, or they are lost.
        """
        places = places_of(root, chosen.record, as_ended=chosen.as_ended)
        made = {
            kind: Artifact.find(root, kind=kind, fingerprint=fingerprint).at(number)
            for kind, (fingerprint, number) in places.items()
            if kind in ("embeddings", "corpus", "evaluation")
        }
        return cls(
            name=chosen.record.name,
            identifier=chosen.record.identifier,
            embeddings=made["embeddings"],
            corpus=made["corpus"],
            evaluation=made.get("evaluation"),
        )


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was measured on both."""

    name: str
    old: float | None
    """None: it was not measured."""
    new: float | None
    low: float | None = None
    """95 % interval of the difference, new less old."""
    high: float | None = None
    count: int = 0
    """Of captions, videos or vectors it was measured on."""
    rule: str
    """What is asked of it."""
    passed: bool
    """True too where it was not measured."""
    words: str = ""
    """What a person should know: why it failed, or was not measured."""


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What two tables are like beside each other, and what the gate says."""

    old: str
    new: str
    """Names of the runs."""
    same_model: bool
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the new tables may take the place of the old."""
        return all(check.passed for check in self.checks)

    @property
    def words(self) -> str:
        """Why not, or what was measured."""
        failed = [check for check in self.checks if not check.passed]
        said = [f"{check.name}: {check.words}" for check in failed or self.checks if check.words]
        return "; ".join(said) or "every check passed"


def judge(old: GateTables, new: GateTables, *, options: GateConfig) -> GateReport:
    """Measure both, and hold the new against the old.

    Raises:
        IntegrityError: a part is not what its receipt promised.
    """
    same = old.embeddings.artifact.fingerprint == new.embeddings.artifact.fingerprint
    indexes = _index(old.embeddings), _index(new.embeddings)
    least = options.min_overlap_same if same else options.min_overlap
    return GateReport(
        old=old.name,
        new=new.name,
        same_model=same,
        checks=(
            _coverage(old, new, limit=options.max_lost_fraction),
            _recall(old.evaluation, new.evaluation, options=options),
            _overlap(*indexes, least=least, options=options),
            _norms(*indexes, tolerance=options.norm_tolerance),
        ),
    )


def _coverage(old: GateTables, new: GateTables, *, limit: float) -> Check:
    """Videos with a row that the corpus still names and the new table has not."""
    named = DigestSet([digests(ids) for ids in _ids(new.corpus)])
    there = DigestSet([digests(ids) for ids in _ids(new.embeddings)])
    due, lost = 0, list[str]()
    for ids in _ids(old.embeddings):
        wanted = digests(ids)
        still = named.has(wanted)
        gone = still & ~there.has(wanted)
        due += int(still.sum())
        lost += [ids[row] for row in np.flatnonzero(gone)]
    share = len(lost) / due if due else 0.0
    passed = bool(len(there)) and share <= limit
    words = (
        f"{len(lost)} usable videos of {due} have no row any more (first: {', '.join(lost[:3])})"
    )
    if not len(there):
        words = "the new table has no row"
    return Check(
        name="coverage",
        old=float(due),
        new=float(due - len(lost)),
        count=due,
        rule=f"at most {limit:.1%} of the usable videos may be lost",
        passed=passed,
        words="" if passed and not lost else words,
    )


def _ids(snapshot: Snapshot) -> Iterator[list[str]]:
    if "videos" in snapshot.tables:
        for piece in iter_tables(snapshot, "videos", columns=["video_id"]):
            yield piece.column("video_id").to_pylist()


def _recall(old: Snapshot | None, new: Snapshot | None, *, options: GateConfig) -> Check:
    """R@k of the captions both evaluations have, paired, with its interval by bootstrap."""
    k, limit = options.recall_at, options.max_recall_drop
    name, rule = f"R@{k} text to video", f"may fall by {limit:g} points"
    hits = _paired_hits(old, new, k=k, most=options.probes)
    if hits is None or not len(hits):
        return Check(
            name=name,
            old=None,
            new=None,
            rule=rule,
            passed=True,
            words="not measured: no caption is scored in both",
        )
    before, after = (100.0 * float(column.mean()) for column in hits.T)
    low, high = interval_of_mean(hits[:, 1].astype(float) - hits[:, 0])
    passed = after - before >= -limit
    chance = ", which may be chance" if high >= 0 else ""
    return Check(
        name=name,
        old=before,
        new=after,
        low=low,
        high=high,
        count=len(hits),
        rule=rule,
        passed=passed,
        words=""
        if passed
        else f"fell from {before:.1f} to {after:.1f} over {len(hits)} captions"
        f" (95 % of the difference {low:+.1f} to {high:+.1f}{chance})",
    )


def _paired_hits(
    old: Snapshot | None, new: Snapshot | None, *, k: int, most: int
) -> NDArray[np.bool_] | None:
    """Whether each caption's video is among the best k: bool [N, 2], old and new."""
    if old is None or new is None:
        return None
    ranks = paired_ranks(old, new, direction="t2v")
    if ranks is None:
        return None
    chosen = np.argsort(ranks.names[:, 0], kind="stable")[:most]  # the same ones every time
    return np.stack([ranks.old[chosen] <= k, ranks.new[chosen] <= k], axis=1)


def _index(embeddings: Snapshot) -> VectorIndex | None:
    with suppress(MissingColumnError):
        return VectorIndex.of(embeddings)
    return None


def _overlap(
    old: VectorIndex | None, new: VectorIndex | None, *, least: float, options: GateConfig
) -> Check:
    """The part of a video's nearest ones that stays, on average over probes both tables have."""
    name, rule = f"{options.neighbours} nearest videos", f"at least {least:.0%} of them must stay"
    most = options.probes // _VIDEOS
    probes = [] if old is None or new is None else common_videos(old, new, most=most)
    if old is None or new is None or not probes:
        return Check(
            name=name,
            old=None,
            new=None,
            rule=rule,
            passed=True,
            words="not measured: no video has a vector in both",
        )
    found = part_that_stays(old, new, probes, k=options.neighbours)
    passed = found >= least
    return Check(
        name=name,
        old=1.0,
        new=found,
        count=len(probes),
        rule=rule,
        passed=passed,
        words="" if passed else f"{found:.0%} of them stay, over {len(probes)} videos",
    )


def _norms(old: VectorIndex | None, new: VectorIndex | None, *, tolerance: float) -> Check:
    """Vectors have length 1; one that has not, or is not finite, misleads every search."""
    rule = f"within {tolerance:g} of 1"
    if new is None:
        return Check(
            name="length of vectors",
            old=None,
            new=None,
            rule=rule,
            passed=True,
            words="not measured: the score is no product of vectors",
        )
    lengths = [None if index is None else lengths_of(index) for index in (old, new)]
    after = lengths[1] if lengths[1] is not None else np.zeros(0)
    wrong = int((np.abs(after - 1.0) > tolerance).sum())
    before = lengths[0]
    return Check(
        name="length of vectors",
        old=None if before is None or not len(before) else float(before.mean()),
        new=float(after.mean()) if len(after) else None,
        count=len(after),
        rule=rule,
        passed=not wrong,
        words=f"{wrong} of {len(after)} are not {rule}, or not finite" if wrong else "",
    )
