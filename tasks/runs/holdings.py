"""Which artifacts each run of a store needs, so that what only dropped runs had can be freed.

A run needs what its record names, what these were made from (their identities say it), and the
checkpoint its tables were made with or its config starts from. Runs share artifacts: frames are
decoded once for all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord, dropped_runs, list_runs
from reelvec.tasks.training.committed import CheckpointRef, best_checkpoint, checkpoints

__all__ = ["ArtifactKey", "Holdings"]

ArtifactKey = tuple[str, str]
"""Kind and fingerprint."""

_MADE_FROM = ("embeddings", "corpus", "frames", "audio")
"""Kinds that identities name by their fingerprint."""


@dataclass(frozen=True)
class _Made:
    """What is needed of one set of artifacts, and the weights their tables were made with."""

    keys: frozenset[ArtifactKey]
    weights: frozenset[str]


class Holdings:
    """What the runs of a store hold, as it is now.

    Attributes:
        root: the store.
        kept: its runs, oldest first.
        dropped: the runs that were dropped.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        gone, runs = dropped_runs(root), list_runs(root, dropped=True)
        self.kept = [run for run in runs if run.identifier not in gone]
        self.dropped = [run for run in runs if run.identifier in gone]
        self._made: dict[frozenset[ArtifactKey], _Made] = {}

    def of(self, runs: Iterable[RunRecord]) -> frozenset[ArtifactKey]:
        """Artifacts that one of these runs needs.

        Raises:
            IntegrityError: an identity is damaged, so that what a run needs is unknown.
        """
        return frozenset().union(*(self._of(run) for run in runs))

    def only_of(self, runs: Iterable[RunRecord]) -> frozenset[ArtifactKey]:
        """Artifacts of these runs that no other kept run needs."""
        chosen = list(runs)
        theirs = {run.identifier for run in chosen}
        others = [run for run in self.kept if run.identifier not in theirs]
        return self.of(chosen) - self.of(others)

    def _of(self, run: RunRecord) -> frozenset[ArtifactKey]:
        named = frozenset((kind, place[0]) for kind, place in run.artifacts.items())
        if named not in self._made:
            self._made[named] = self._resolved(named)
        made = self._made[named]
        needed = set(made.keys) | self._started_from(run)
        known = {weights for key in needed for weights in self._weights.get(key, ())}
        for key, weights in self._weights.items():
            if (made.weights - known) & weights:
                needed.add(key)
        return frozenset(needed)

    def _resolved(self, named: frozenset[ArtifactKey]) -> _Made:
        keys, weights, due = set(named), set[str](), list(named)
        while due:
            kind, fingerprint = due.pop()
            try:
                identity = Artifact(self.root, kind=kind, fingerprint=fingerprint).identity
            except MissingArtifactError:
                continue  # the store has lost it: there is nothing to keep
            if kind == "embeddings":
                weights.add(str(identity.get("weights", "")))
            found = {(made, str(identity[made])) for made in _MADE_FROM if made in identity}
            found |= self._kept_for.get((kind, fingerprint), frozenset())
            due += found - keys
            keys |= found
        return _Made(frozenset(keys), frozenset(weights))

    @cached_property
    def _best(self) -> dict[ArtifactKey, CheckpointRef]:
        """The checkpoint of each checkpoint artifact that is used."""
        found: dict[ArtifactKey, CheckpointRef] = {}
        for artifact in Artifact.all(self.root):
            refs = checkpoints(artifact.latest()) if artifact.kind == "checkpoint" else []
            if refs:
                found[artifact.kind, artifact.fingerprint] = best_checkpoint(refs)
        return found

    @cached_property
    def _weights(self) -> dict[ArtifactKey, frozenset[str]]:
        """Hashes of the weights of each checkpoint artifact that is used."""
        return {key: frozenset({ref.weights_hash}) for key, ref in self._best.items()}

    @cached_property
    def _kept_for(self) -> dict[ArtifactKey, frozenset[ArtifactKey]]:
        """The features that each checkpoint artifact was trained from."""
        return {
            key: frozenset(("features", fingerprint) for fingerprint in ref.features)
            for key, ref in self._best.items()
        }

    def _started_from(self, run: RunRecord) -> set[ArtifactKey]:
        """The checkpoint of this store whose file the run's config starts from."""
        weights = run.config.get("model", {}).get("weights")
        if not weights or "://" in str(weights):
            return set()
        try:
            folder = self.root.local_folder.resolve()
            within = Path(os.path.realpath(weights)).relative_to(folder).parts
        except ValueError:
            return set()
        is_ours = len(within) > 1 and within[0] in layout.KINDS and layout.is_fingerprint(within[1])
        return {(within[0], within[1])} if is_ours else set()
