"""Aliases: numbered records, created once; the last is in force, gc leaves what they name."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.storage import layout
from reelvec.storage.commits.aliases import (
    CURRENT,
    REMOVED,
    AliasRecord,
    alias_in_force,
    alias_names,
    alias_records,
    checked_alias,
    kept_by_aliases,
    move_alias,
    target_before,
)
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import AliasError, IntegrityError, MissingArtifactError
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import Root, open_root
from reelvec.storage.sealing import seal
from reelvec.storage.store_format import format_of_store
from reelvec.storage.upkeep import garbage
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_store
from tests.storage.commits.contracts import TABLE, flip_bit, ok, rows_in_force, write_part

NOW = GcOptions(keep_snapshots=1, min_age_seconds=0.0)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(tmp_path)


@pytest.fixture
def artifact(root: Root) -> Artifact:
    """Four snapshots; each replaces the row of the one before."""
    artifact = Artifact.open(root, kind="embeddings", identity={"a": 1})
    for value in (1, 2, 3, 4):
        receipt = write_part(artifact, ok("a", value=value))
        artifact.publish(add=[receipt], supersede={TABLE: ["a"]})
    return artifact


def record(artifact: Artifact, number: int, *, alias: str = CURRENT, **more: object) -> AliasRecord:
    places = {artifact.kind: (artifact.fingerprint, number)}
    plain = AliasRecord(alias=alias, change="promoted", run=f"run{number}", artifacts=places)
    return dataclasses.replace(plain, name="nightly", **more)  # type: ignore[arg-type]


def in_force(root: Root, alias: str = CURRENT) -> int:
    """The snapshot the alias stands for; 0: none."""
    found = alias_in_force(root, alias)
    return found.artifacts["embeddings"][1] if found else 0


def test_the_last_record_is_in_force_and_the_others_are_its_history(
    root: Root, artifact: Artifact
) -> None:
    assert alias_in_force(root, CURRENT) is None
    assert alias_names(root) == []
    for number in (1, 3, 2):
        written = move_alias(root, record(artifact, number, why=f"of {number}"))
        assert alias_in_force(root, CURRENT) == written
    move_alias(root, record(artifact, 4, alias="before-summer"))
    assert alias_names(root) == [CURRENT, "before-summer"]
    assert [(one.number, one.run, one.why) for one in alias_records(root, CURRENT)] == [
        (1, "run1", "of 1"), (2, "run3", "of 3"), (3, "run2", "of 2"),
    ]  # fmt: skip
    move_alias(root, AliasRecord(alias=CURRENT, change=REMOVED))
    assert (in_force(root), in_force(root, "before-summer")) == (0, 4)
    assert verify_store(root) == []


def test_a_listing_that_hides_everything_hides_no_record(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        move_alias(root, record(artifact, number))
    monkeypatch.setattr(LocalRoot, "list", lambda *_: [])
    assert in_force(root) == 2
    assert move_alias(root, record(artifact, 3)).number == 3


@pytest.mark.parametrize("name", ["", "Summer", "a/b", "..", ".hidden", "-x", "a b", "x" * 65])
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(AliasError, match="small letters"):
        checked_alias(name)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plans=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=3))
def test_promotions_at_the_same_time_all_count_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, plans: list[list[int]]
) -> None:
    root = open_root(tmp_path_factory.mktemp("store"))
    artifact = Artifact.open(root, kind="embeddings", identity={"a": 1})
    for value in (1, 2, 3, 4):
        artifact.publish(add=[write_part(artifact, ok(str(value), value=value))])
    start = threading.Barrier(len(plans))

    def writer(numbers: list[int], who: int) -> None:
        start.wait()
        for number in numbers:
            move_alias(root, record(artifact, number, why=str(who)))

    threads = [threading.Thread(target=writer, args=(p, i)) for i, p in enumerate(plans)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = alias_records(root, CURRENT)
    assert [one.number for one in records] == list(range(1, sum(map(len, plans)) + 1))
    for who, numbers in enumerate(plans):  # each writer's own, in its order
        assert [r.artifacts["embeddings"][1] for r in records if r.why == str(who)] == numbers
    assert alias_in_force(root, CURRENT) == records[-1]


def test_of_two_that_decided_on_the_same_state_one_wins_and_the_other_is_told(
    root: Root, artifact: Artifact
) -> None:
    move_alias(root, record(artifact, 1), after=0)
    start, said = threading.Barrier(2), []

    def writer(number: int) -> None:
        start.wait()
        try:
            move_alias(root, record(artifact, number), after=1)
        except AliasError as error:
            said.append((number, str(error)))

    threads = [threading.Thread(target=writer, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((loser, words),) = said
    assert in_force(root) == 5 - loser
    assert "was moved meanwhile" in words and "record 2" in words
    assert len(alias_records(root, CURRENT)) == 2


def test_rollback_goes_back_further_each_time(root: Root, artifact: Artifact) -> None:
    with pytest.raises(AliasError, match="never set"):
        target_before(root, CURRENT)
    for number in (1, 2, 2, 3):
        move_alias(root, record(artifact, number))
    for expected in (2, 1):
        before = target_before(root, CURRENT)
        assert before.artifacts["embeddings"][1] == expected
        move_alias(root, dataclasses.replace(before, change="rolled back", restores=before.number))
    with pytest.raises(AliasError, match=r"there are: 1, 2, 3, 4, 5, 6"):
        target_before(root, CURRENT)
    assert target_before(root, CURRENT, number=4).run == "run3"
    with pytest.raises(AliasError, match="number 9"):
        target_before(root, CURRENT, number=9)


def test_gc_leaves_what_aliases_stand_for_and_what_a_rollback_reaches(
    root: Root, artifact: Artifact
) -> None:
    move_alias(root, record(artifact, 1, alias="paper"))
    for number in (2, 3):
        move_alias(root, record(artifact, number))
    gc(root, options=dataclasses.replace(NOW, keep_moves=2))
    assert artifact.numbers() == [1, 2, 3, 4]
    gc(root, options=dataclasses.replace(NOW, keep_moves=1, min_age_seconds=60.0))
    assert artifact.numbers() == [1, 2, 3, 4], "what stood for less than the age"
    gc(root, options=dataclasses.replace(NOW, keep_moves=1))
    assert artifact.numbers() == [1, 3, 4]
    assert rows_in_force(artifact.at(1)) == {"a": ("ok", 1)}
    move_alias(root, AliasRecord(alias="paper", change=REMOVED))
    gc(root, options=NOW)
    assert artifact.numbers() == [3, 4]
    with pytest.raises(MissingArtifactError):
        move_alias(root, record(artifact, 1))
    assert in_force(root, "paper") == 0
    assert verify_store(root) == []


def test_an_alias_moved_while_gc_is_at_work_keeps_its_snapshot(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between gc's look and its deletion: it looks once more after it wrote down what shall go."""
    plain = garbage.write_removal

    def written(*args: object, **options: object) -> object:
        removal = plain(*args, **options)  # type: ignore[arg-type]
        with pytest.raises(MissingArtifactError, match="gc removed"):
            move_alias(root, record(artifact, 1))  # seen too late, and said
        return removal

    def before(*args: object, **options: object) -> object:
        if in_force(root) == 0:
            move_alias(root, record(artifact, 2))  # seen by gc
        return written(*args, **options)

    monkeypatch.setattr(garbage, "write_removal", before)
    gc(root, options=NOW)
    assert artifact.numbers() == [2, 4]
    assert rows_in_force(artifact.at(in_force(root))) == {"a": ("ok", 2)}


def test_a_damaged_record_is_named_with_its_remedy_and_each_remedy_works(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    for number in (1, 2):
        move_alias(root, record(artifact, number))
    path = layout.alias(CURRENT, 2)
    flip_bit(tmp_path / path, 200)
    with pytest.raises(AliasError, match=r"00000002.json cannot be read.*promote RUN.*rollback"):
        alias_in_force(root, CURRENT)
    with pytest.raises(IntegrityError):
        kept_by_aliases(root, keep=1, seconds=0.0)
    assert [one.change for one in alias_records(root, CURRENT)] == ["promoted", "damaged"]
    assert [(found.kind, found.path) for found in verify_store(root)] == [("aliases", path)]
    assert target_before(root, CURRENT).run == "run1", "rollback still knows the way"
    (done,) = repair_store(root)
    assert "stands for what it did before: nightly, run1" in done.done
    assert in_force(root) == 1
    assert [one.change for one in alias_records(root, CURRENT)] == [
        "promoted", "damaged", "rolled back",
    ]  # fmt: skip
    assert verify_store(root) == []
    assert move_alias(root, record(artifact, 3)).number == 4


def test_a_first_record_that_is_damaged_leaves_an_alias_that_is_not_set(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    move_alias(root, record(artifact, 1, alias="paper"))
    flip_bit(tmp_path / layout.alias("paper", 1), 99)
    with pytest.raises(AliasError, match="tag paper RUN --move"):
        alias_in_force(root, "paper")
    (done,) = repair_store(root)
    assert "stands for nothing now" in done.done
    assert alias_in_force(root, "paper") is None


def test_a_store_is_of_format_2_from_its_first_alias_on(root: Root, artifact: Artifact) -> None:
    """Programs of format 1 would collect what it stands for."""
    assert format_of_store(root) == 1
    move_alias(root, record(artifact, 1))
    assert format_of_store(root) == 2
    artifact.publish(add=[write_part(artifact, ok("b"))])
    assert format_of_store(open_root(root.local_folder)) == 2


@pytest.mark.parametrize(
    "body", [{}, {"alias": CURRENT}, {"artifacts": 3}, {"artifacts": {"embeddings": [1]}}]
)
def test_a_record_of_somebody_else_is_said_to_be_none(
    root: Root, artifact: Artifact, body: dict[str, object]
) -> None:
    root.put_new(layout.alias(CURRENT, 1), seal(body))
    with pytest.raises(AliasError, match="promote RUN"):
        alias_in_force(root, CURRENT)
    assert move_alias(root, record(artifact, 1)).number == 2
    assert in_force(root) == 1
