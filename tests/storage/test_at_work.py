"""A run that is at work says so; one that was killed is told from it."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from reelvec.storage import at_work as module
from reelvec.storage.at_work import announced, forget_stopped, runs_at_work
from reelvec.storage.roots import open_root

CHILD = """
import sys, time
from reelvec.storage.at_work import announced
from reelvec.storage.roots import open_root
with announced(open_root(sys.argv[1]), "killed"):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_run_is_at_work_until_it_ends_well_or_not(tmp_path):
    root = open_root(tmp_path)
    assert runs_at_work(root) == []
    with suppress(RuntimeError), announced(root, "one"), announced(root, "two"):
        assert [(run.name, run.stopped) for run in runs_at_work(root)] == [
            ("one", False), ("two", False),
        ]  # fmt: skip
        forget_stopped(root)
        assert len(runs_at_work(root)) == 2
        raise RuntimeError
    assert runs_at_work(root) == []


def test_a_killed_run_is_seen_and_forgotten_by_the_next_of_its_name(tmp_path):
    root = open_root(tmp_path)
    path = str(Path(__file__).parents[2] / ".editable")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert child.stdout.readline() == "begun\n"
    assert [run.stopped for run in runs_at_work(root)] == [False]
    child.kill()
    child.wait()
    child.stdout.close()
    assert [(run.name, run.stopped) for run in runs_at_work(root)] == [("killed", True)]
    with announced(root, "other"):
        assert len(runs_at_work(root)) == 2
    with announced(root, "killed"):
        assert [run.stopped for run in runs_at_work(root)] == [False]


def test_a_number_that_another_process_has_by_now_is_dead(tmp_path, monkeypatch):
    root = open_root(tmp_path)
    with announced(root, "one"), monkeypatch.context() as patch:
        born = module.psutil.Process().create_time()
        patch.setattr(module.psutil.Process, "create_time", lambda _: born + 60)
        assert [run.stopped for run in runs_at_work(root)] == [True]


def test_a_run_on_another_machine_is_dead_after_a_week(tmp_path, monkeypatch):
    root = open_root(tmp_path)
    with announced(root, "far"):
        monkeypatch.setattr(module, "_host", lambda: "here")
        assert [run.stopped for run in runs_at_work(root)] == [False]
        (file,) = (tmp_path / "at-work").iterdir()
        old = time.time() - 8 * 86_400
        os.utime(file, (old, old))
        assert [run.stopped for run in runs_at_work(root)] == [True]


def test_a_damaged_file_counts_as_a_run(tmp_path):
    root = open_root(tmp_path)
    root.put_new("at-work/20260102T030405000000-abcd.json", b"{}")
    assert [(run.name, run.stopped) for run in runs_at_work(root)] == [("(damaged)", False)]
