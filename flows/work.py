"""The shards of one stage, given to an engine, and what their seconds went to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reelvec.flows.clusters import slots
from reelvec.flows.engine import Engine, ShardFunction
from reelvec.flows.progress import stage_progress
from reelvec.storage.commits.artifact import Receipt
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.shards import Shard

__all__ = ["Work"]


class Work:
    """The shards of one stage."""

    def __init__(
        self,
        session: Session,
        engine: Engine,
        target: SnapshotRef,
        shards: Sequence[Shard[Any]],
        *,
        unit: str,
    ) -> None:
        self._session = session
        self._engine = engine
        self._target = target
        self._shards = shards
        self._unit = unit
        self._spent: dict[str, float] = {}

    def costed(self, receipt: StageReceipt) -> StageReceipt:
        """The stage's receipt with what its shards' seconds went to."""
        workers = max(1, min(slots(self._session.config), len(self._shards)))
        return replace(receipt, spent=dict(self._spent), slots=workers)

    def map(
        self,
        title: str,
        function: ShardFunction,
        *,
        device: str = "cpu",
        decodes: bool = False,
        **shared: object,
    ) -> list[Receipt]:
        """Call the function once a shard; the receipts they committed.

        They come in the order of the plan, whoever was done first: parts are published in it, and
        later stages plan their shards by it.

        A shard that still fails after its retries fails the stage; what the others committed is
        adopted by the next run.
        """
        if not self._shards:
            return []
        target, shards = self._target, self._shards
        artifact = self._session.find(target.kind, target.fingerprint)
        receipts: list[Receipt] = []
        total = sum(len(shard.items) for shard in shards)
        show = self._engine.progress(title)
        with stage_progress(title, total=total, unit=self._unit, show=show) as progress:
            for done in self._engine.map(
                function, target, shards, shared=shared, device=device, decodes=decodes
            ):
                artifact.keep(done.receipt)
                receipts.append(done.receipt)
                for what, spent in done.spent.items():
                    self._spent[what] = self._spent.get(what, 0.0) + spent
                counts = done.receipt.counts
                progress.advance(counts.planned, failed=counts.quarantined)
        places = {(shard.table, shard.name): place for place, shard in enumerate(shards)}
        return sorted(receipts, key=lambda receipt: places[receipt.table, receipt.shard])
