from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from reelvec.storage.errors import IntegrityError, MissingArtifactError, StoreError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import (
    REFRESHED,
    RunRecord,
    drop_runs,
    find_run,
    latest_run,
    list_runs,
    run_in_use,
    runs_in_use,
    write_run,
)
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_store
from tests.storage.commits.contracts import flip_bit

RECORD = RunRecord(
    name="nightly",
    config={"model": {"family": "clip4clip"}, "rate": 1.5},
    artifacts={"frames": ("ab" * 16, 3), "corpus": ("cd" * 16, 1)},
    stages=[{"name": "extract", "seconds": 1.25, "counts": {"ok": 3, "quarantined": 1}}],
    started="2026-01-02T03:04:05.678901+02:00",
    ended="2026-01-02T03:05:00+02:00",
)


def test_runs_come_back_in_the_order_of_their_start(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    assert latest_run(root) is None
    later = dataclasses.replace(RECORD, name="later", started="2026-01-02T01:04:06+00:00")
    other = dataclasses.replace(RECORD, name="nightly", started="2025-12-31T23:59:59+00:00")
    for record in (later, RECORD, other):
        identifier = write_run(root, record)
        assert identifier in {run.identifier for run in list_runs(root)}
    assert [run.started for run in list_runs(root)] == [
        other.started,
        RECORD.started,
        later.started,
    ]
    last = latest_run(root)
    assert last is not None
    assert last.name == "later"
    nightly = latest_run(root, name="nightly")
    assert nightly is not None
    assert dataclasses.replace(nightly, identifier="") == RECORD
    assert len(list_runs(root, name="nightly")) == 2
    assert latest_run(root, name="never") is None


def test_a_clock_that_went_back_does_not_hide_the_latest_run(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    ahead = dataclasses.replace(RECORD, name="ahead", started="2999-12-31T23:59:59.999999+00:00")
    write_run(root, ahead)
    for name in ("first", "second"):
        write_run(root, dataclasses.replace(RECORD, name=name))
    assert [run.name for run in list_runs(root)] == ["ahead", "first", "second"]
    last = latest_run(root)
    assert last is not None
    assert (last.name, last.started) == ("second", RECORD.started)


@pytest.mark.parametrize("started", ["", "yesterday", "2026-01-02T03:04:05"])
def test_a_start_must_be_a_moment(tmp_path: Path, started: str) -> None:
    with pytest.raises(StoreError, match="time zone"):
        write_run(open_root(tmp_path), dataclasses.replace(RECORD, started=started))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    write_run(root, RECORD)
    flip_bit(tmp_path / "runs" / root.list("runs")[0], 333)
    with pytest.raises(IntegrityError, match="runs/2026"):
        latest_run(root)


def test_the_run_in_use_is_the_last_that_has_tables(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    assert run_in_use(root) is None
    made = {"frames": ("ab" * 16, 3)}
    tables = made | {"embeddings": ("ef" * 16, 1)}
    scored = {"evaluation": ("ef" * 16, 2)}
    runs = [("listed", made), ("demo", tables), ("demo", made), ("scored", scored), ("new", made)]
    for second, (name, artifacts) in enumerate(runs):
        started = f"2026-01-02T03:04:{second:02d}+00:00"
        record = dataclasses.replace(RECORD, name=name, started=started, artifacts=artifacts)
        write_run(root, record)
    used = {name: run_in_use(root, name=name) for name in (None, "listed", "demo", "new", "never")}
    assert {name: run and run.started[-8:-6] for name, run in used.items()} == {
        None: "03", "listed": "00", "demo": "01", "new": "04", "never": None,
    }  # fmt: skip


def record(name: str, second: int, **artifacts: int) -> RunRecord:
    made = {kind: (f"{number:032x}", number) for kind, number in artifacts.items()}
    started = f"2026-01-02T03:04:{second:02d}+00:00"
    return dataclasses.replace(RECORD, name=name, started=started, artifacts=made)


def test_a_dropped_run_is_passed_over_and_the_same_name_again_is_a_new_run(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    for second, name in enumerate(("old", "old", "new")):
        write_run(root, record(name, second, embeddings=second))
    before = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    drop_runs(root, list_runs(root, name="old"))
    assert {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == before
    assert [run.name for run in list_runs(root)] == ["new"]
    assert [run.name for run in list_runs(root, dropped=True)] == ["old", "old", "new"]
    assert latest_run(root, name="old") is run_in_use(root, name="old") is None
    with pytest.raises(MissingArtifactError, match=r"run \(old\) was dropped .* there are: new"):
        find_run(root, "old")
    again = write_run(root, record("old", 9, embeddings=9))
    assert find_run(root, "old").identifier == find_run(root).identifier == again
    drop_runs(root, list_runs(root))
    assert runs_in_use(root) == []
    with pytest.raises(MissingArtifactError, match=r"no run .* \(all were dropped\)"):
        find_run(root)


def test_a_crash_while_runs_are_dropped_drops_all_of_them_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = open_root(tmp_path)
    for second in range(3):
        write_run(root, record("old", second, embeddings=1))
    with monkeypatch.context() as patch:
        patch.setattr(type(root), "put_new", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            drop_runs(root, list_runs(root))
    assert len(list_runs(root)) == 3
    drop_runs(root, list_runs(root))
    assert list_runs(root) == []


def test_a_damaged_drop_is_named_and_hides_nothing(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    write_run(root, record("old", 0, embeddings=1))
    drop_runs(root, list_runs(root))
    (file,) = root.list("drops")
    flip_bit(tmp_path / "drops" / file, 99)
    with pytest.raises(IntegrityError, match="drops/"):
        list_runs(root)
    assert [(damage.kind, damage.path) for damage in verify_store(root)] == [
        ("drops", f"drops/{file}")
    ]
    assert [repair.done for repair in repair_store(root)] == [
        "set aside; drop the runs it named again"
    ]
    assert [run.name for run in list_runs(root)] == ["old"]


def test_a_run_that_keeps_tables_true_does_not_become_the_last(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    first = write_run(root, record("nightly", 0, embeddings=1))
    write_run(root, record("mine", 1, embeddings=2))
    tonight = dataclasses.replace(record("nightly", 30, embeddings=1), status=REFRESHED)
    second = write_run(root, tonight, beside=first)
    third = write_run(root, tonight, beside=second)
    assert find_run(root).name == "mine"
    assert find_run(root, "nightly").identifier == third
    assert [run.name for run in runs_in_use(root)] == ["nightly", "mine"]
    assert [run.identifier for run in list_runs(root)][:3] == [first, second, third]


def test_names_and_digits_find_runs(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    identifier = write_run(root, record("alpha", 0, corpus=1))
    write_run(root, record("beta", 1, corpus=1))
    assert find_run(root, identifier[:6]).name == "alpha"
    for wrong in (identifier[:5], "", "alph", "none such"):
        with pytest.raises(MissingArtifactError, match="there are: alpha, beta"):
            find_run(root, wrong)
