"""The runs of a store as the page sees them: opened once, and anew when their tables change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import reelvec
from reelvec.api.searching import Search

__all__ = ["OpenRun", "OpenRuns"]

_KEPT = 4


@dataclass(frozen=True, eq=False)
class OpenRun:
    """A run at the snapshots that were in force at a request; all of an answer comes from it."""

    run: reelvec.Run
    search: Search
    made: dict[str, Any]
    """What was computed of it: name -> value."""

    @property
    def state(self) -> str:
        """Names the snapshots; another one where any table was replaced."""
        return self.search.state


class OpenRuns:
    """Looks at the store for every request; a run whose snapshots are as before stays open.

    Attributes:
        store: where the runs are.
        lock: held while a model or a reader is used, which are not for several threads at once.
        decoding: held while a file that failed is looked into, which may take a while.
    """

    def __init__(self, store: reelvec.Store) -> None:
        self.store = store
        self.lock = threading.Lock()
        self.decoding = threading.Lock()
        self._open: OrderedDict[str, OpenRun] = OrderedDict()

    def get(self, name: str | None, *, state: str | None = None) -> OpenRun:
        """The run of this name as it is now, or of this identifier as it ended; None: the last.

        Args:
            name: of the run.
            state: of an earlier answer: what belongs to that answer comes from the same snapshots,
                and the store is not looked at again. One that is not open any more is no matter.

        Raises:
            MissingArtifactError: there is none, or its tables are not made.
        """
        with self.lock:
            if state is not None and state in self._open:
                return self._open[state]
        run = self.store.run(name)
        search = run.searches()
        search.best_seconds = False  # an answer must not wait for a model that looks at frames
        with self.lock:
            known = self._open.get(search.state)
            if known is None:
                known = OpenRun(run, search, {})
                self._open[search.state] = known
                if len(self._open) > _KEPT:
                    self._open.popitem(last=False)[1].search.close()
            self._open.move_to_end(search.state)
            return known

    def close(self) -> None:
        """Closes files."""
        with self.lock:
            for one in self._open.values():
                one.search.close()
            self._open.clear()
