"""What was made of each part of an artifact: the stages of a run ask for most of them again.

A stage that publishes adds a few parts to thousands. Who looks at the new snapshot reads these few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from reelvec.storage.at_once import at_once
from reelvec.storage.commits.views import PartRef, ReadableArtifact, Snapshot

__all__ = ["PartMemo"]

T = TypeVar("T")
PartKey = tuple[str, frozenset[str]]
"""Path of the part, and its keys that are not in force."""


class PartMemo(Generic[T]):
    """Kept as long as somebody holds the artifact, of the parts that were asked for last.

    A part never changes; which of its keys are in force its entry says.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[ReadableArtifact, dict[PartKey, T]] = WeakKeyDictionary()

    def of(self, snapshot: Snapshot, table: str, make: Callable[[PartRef], T]) -> list[T]:
        """What `make` gives for each part of the table, in the order of the snapshot."""
        known = self._known.get(snapshot.artifact, {})
        parts = {(part.part, part.dropped): part for part in snapshot.parts(table)}
        new = [key for key in parts if key not in known]
        made = at_once(snapshot.artifact.root, make, [parts[key] for key in new])
        known = known | dict(zip(new, made, strict=True))
        self._known[snapshot.artifact] = {key: known[key] for key in parts}
        return [known[key] for key in parts]

    def learn(self, part: PartRef, value: T) -> None:
        """Keep what was made of a part by who has opened it for more than this."""
        self._known.setdefault(part.artifact, {})[part.part, part.dropped] = value
