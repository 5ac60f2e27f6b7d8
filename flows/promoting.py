"""What becomes of an alias, told to whoever listens: promoted, rolled back, refused by the gate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reelvec.flows.events import Event, announce
from reelvec.storage.commits.aliases import ROLLED_BACK
from reelvec.tasks.migration.errors import GateRefusedError
from reelvec.tasks.runs.promotion import Moved

__all__ = ["tell_moved", "telling_refusal"]


def tell_moved(moved: Moved) -> Moved:
    """The same; one that changed nothing, or stands for nothing now, is not told."""
    after = moved.after
    if moved.changed and after.run:
        fingerprint, number = after.artifacts["embeddings"]
        back = after.change == ROLLED_BACK
        announce(
            Event.ROLLED_BACK if back else Event.PROMOTED,
            identity=fingerprint,
            store=moved.store,
            run=after.name,
            payload={
                "alias": after.alias,
                "snapshot": number,
                "change": after.change,
                "why": after.why,
                "before": moved.before.name if moved.before else "",
            },
        )
    return moved


@contextmanager
def telling_refusal(store: str) -> Iterator[None]:
    """Tell of a refusal of the gate that passes through."""
    try:
        yield
    except GateRefusedError as error:
        announce(
            Event.REFUSED,
            identity=error.identity,
            store=store,
            run=error.run,
            payload={"why": error.why, "report": error.report},
        )
        raise
