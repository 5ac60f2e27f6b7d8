"""The commit protocol at random, against a dictionary, on a machine that dies at any point.

The model is the obvious one: which rows are in force, which parts wait to be adopted, which are
gone. An operation that a crash cut short must have happened whole or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import Counts, Receipt
from reelvec.storage.errors import CommitError
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.upkeep.compaction import compact
from reelvec.storage.upkeep.garbage import GcOptions, gc_artifact
from reelvec.storage.upkeep.verify import verify_artifact
from tests.storage.commits.contracts import (
    TABLE,
    FragileRoot,
    Machine,
    Row,
    rows_in_force,
    up_to,
    write_part,
)

KEYS = st.sets(st.sampled_from("abcdefg"), max_size=4)
OUTCOMES = st.sampled_from(["ok", "ok", "salvaged", "quarantined"])
DEATH = st.none() | st.integers(0, 40)
GREEDY = GcOptions(keep_snapshots=1, min_age_seconds=0.0)
IDENTITY = {"test": "protocol"}


def merged(live: dict[str, Row], parts: list[dict[str, Row]], gone: set[str]) -> dict[str, Row]:
    """The model of a publish: what is in force stays, new keys come in, first come first served."""
    result = {key: row for key, row in live.items() if key not in gone}
    for rows in parts:
        result = {**rows, **result}
    return result


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        fast = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=fast if fast.is_dir() else None))
        self.machine = Machine()
        self.root = FragileRoot(self.folder, self.machine)
        self.ours = Artifact.open(self.root, kind="corpus", identity=IDENTITY)
        self.theirs = Artifact.open(LocalRoot(self.folder), kind="corpus", identity=IDENTITY)
        self.live: dict[str, Row] = {}
        self.waiting: dict[str, tuple[Receipt, dict[str, Row]]] = {}  # parts nobody published
        self.seen: list[Receipt] = []  # every receipt a worker ever held in its hands
        self.pins = ExitStack()
        self.pinned: list[tuple[Snapshot, dict[str, Row]]] = []
        self.counter = 0

    def teardown(self) -> None:
        self.pins.close()
        shutil.rmtree(self.folder)

    # -- workers

    @rule(keys=KEYS, data=st.data(), death=DEATH)
    def work(self, keys: set[str], data: st.DataObject, death: int | None) -> None:
        rows: dict[str, Row] = {}
        for key in sorted(keys):
            self.counter += 1
            outcome = data.draw(OUTCOMES)
            rows[key] = (outcome, None if outcome == "quarantined" else self.counter)
        before = set(self.waiting)
        with self.machine.dies_after(death):
            receipt = write_part(self.ours, rows)
            self.seen.append(receipt)
            self.waiting[receipt.part] = (receipt, rows)
        if self.machine.crashed:  # the receipt is there, or it never was
            for orphan in self.theirs.orphan_receipts():
                if orphan.part not in before and orphan.part not in self.waiting:
                    assert set(orphan.keys) == set(rows)
                    self.seen.append(orphan)
                    self.waiting[orphan.part] = (orphan, rows)

    # -- coordinators

    def _publish(self, add: list[Receipt], gone: set[str], death: int | None) -> None:
        known = self._known()
        collected = [r for r in add if r.part not in self.waiting and r.part not in known]
        fresh = {r.part: self.waiting[r.part][1] for r in add if r.part in self.waiting}
        after = merged(self.live, list(fresh.values()), gone)
        refused = False
        try:
            with self.machine.dies_after(death):
                self.ours.publish(add=add, supersede={TABLE: gone})
        except CommitError:
            refused = True
        now = rows_in_force(self.theirs.latest())
        if self.machine.crashed:
            assert now in (self.live, after)
        elif refused:
            assert collected
            assert now == self.live
        else:
            assert now == after
            assert not collected
        self.live = now
        for part in fresh.keys() & self._known():
            self.waiting.pop(part)

    def _known(self) -> set[str]:
        """Parts in force or settled."""
        latest = self.theirs.latest()
        return {entry.part for entry in latest.entries} | latest.settled if latest else set()

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), gone=KEYS, death=DEATH)
    def publish(self, data: st.DataObject, gone: set[str], death: int | None) -> None:
        """Any receipts, also old ones: published long ago, superseded, or collected by gc."""
        add = data.draw(st.lists(st.sampled_from(self.seen), max_size=3))
        self._publish(add, gone, death)

    @rule(death=DEATH)
    def adopt(self, death: int | None) -> None:
        orphans = self.ours.orphan_receipts()
        assert {r.part for r in orphans} == set(self.waiting)
        self._publish(orphans, set(), death)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), mine=KEYS, theirs=KEYS, both=st.booleans())
    def lose_the_race(
        self, data: st.DataObject, mine: set[str], theirs: set[str], both: bool
    ) -> None:
        """Two coordinators publish at once, perhaps even the same parts."""
        waiting = [receipt for receipt, _ in self.waiting.values()]
        ours = data.draw(st.lists(st.sampled_from(waiting), max_size=2, unique_by=id))
        others = ours if both else data.draw(st.lists(st.sampled_from(waiting), max_size=2))
        others = list({r.part: r for r in others}.values())
        fired = []

        def be_faster() -> None:
            fired.append(1)
            self.theirs.publish(add=others, supersede={TABLE: theirs})

        self.root.before_snapshot = be_faster
        before, live = dict(self.waiting), dict(self.live)
        try:
            self.ours.publish(add=ours, supersede={TABLE: mine})
        finally:
            self.root.before_snapshot = None
        state = live
        if fired:
            state = merged(state, [before[r.part][1] for r in others], theirs)
        rest = [r for r in ours if not (fired and r.part in {o.part for o in others})]
        state = merged(state, [before[r.part][1] for r in rest], mine)
        self.live = rows_in_force(self.theirs.latest())
        assert self.live == state
        for receipt in [*ours, *(others if fired else [])]:
            self.waiting.pop(receipt.part, None)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def gc_takes_a_part_while_it_is_published(self, data: st.DataObject) -> None:
        part = data.draw(st.sampled_from(sorted(self.waiting)))
        receipt, rows = self.waiting[part]
        useless = bool(rows) and rows.keys() <= self.live.keys()
        self.root.before_snapshot = lambda: gc_artifact(self.theirs, options=GREEDY) and None
        refused = False
        try:
            self.ours.publish(add=[receipt])
        except CommitError:
            refused = True
        finally:
            self.root.before_snapshot = None
        assert refused != useless  # what would not have come into force is not missed
        self.waiting = {}
        assert rows_in_force(self.theirs.latest()) == self.live

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def fall_far_behind(self, data: st.DataObject) -> None:
        """Others publish twice and gc removes the very number we are about to write."""
        mine = data.draw(st.sampled_from(sorted(self.live)))
        fired = []

        def overtake() -> None:
            fired.append(1)
            for _ in range(3):
                self.counter += 1
                rows: dict[str, Row] = {"overtaken": ("ok", self.counter)}
                add = [write_part(self.theirs, rows)]
                self.theirs.publish(add=add, supersede={TABLE: rows})
                self.live = {**self.live, **rows}
            gc_artifact(self.theirs, options=GREEDY)

        self.root.before_snapshot = overtake
        try:
            self.ours.publish(supersede={TABLE: [mine]})
        finally:
            self.root.before_snapshot = None
        if fired:
            self.waiting = {}
        self.live.pop(mine)

    # -- housekeeping

    @rule(death=DEATH, keep=st.integers(1, 3))
    def collect(self, death: int | None, keep: int) -> None:
        options = GcOptions(keep_snapshots=keep, min_age_seconds=0.0)
        with self.machine.dies_after(death):
            gc_artifact(self.ours, options=options)
        left = {receipt.part for receipt in self.theirs.orphan_receipts()}
        assert left <= set(self.waiting)
        assert self.machine.crashed or not left
        self.waiting = {part: self.waiting[part] for part in left}

    @rule(death=DEATH, size=st.sampled_from([1, 4000, 1 << 20]))
    def make_large(self, death: int | None, size: int) -> None:
        with self.machine.dies_after(death):
            compact(self.ours, options=up_to(size))

    # -- readers

    @precondition(lambda self: self.theirs.latest() is not None and len(self.pinned) < 3)
    @rule()
    def pin(self) -> None:
        snapshot = self.pins.enter_context(self.theirs.pinned())
        self.pinned.append((snapshot, dict(self.live)))

    @precondition(lambda self: self.pinned)
    @rule()
    def let_go(self) -> None:
        self.pins.close()
        self.pinned = []

    @invariant()
    def pinned_readers_see_what_they_saw(self) -> None:
        for snapshot, rows in self.pinned:
            fresh = Artifact(self.theirs.root, kind="corpus", fingerprint=self.ours.fingerprint)
            assert rows_in_force(fresh.at(snapshot.number)) == rows

    @invariant()
    def the_store_is_as_modelled(self) -> None:
        latest = self.theirs.latest()
        assert rows_in_force(latest) == self.live
        statuses = [status for status, _ in self.live.values()]
        counts = latest.counts() if latest else Counts()
        assert counts == Counts(
            len(statuses), *(statuses.count(s) for s in ("ok", "salvaged", "quarantined"))
        )
        assert (latest.rows if latest else 0) == counts.usable

    @invariant()
    def nothing_is_damaged(self) -> None:
        assert verify_artifact(self.theirs) == []


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
class TestProtocolLonger(Protocol.TestCase):
    settings = settings(
        max_examples=60,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
