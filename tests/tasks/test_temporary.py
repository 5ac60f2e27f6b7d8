"""The folders of runs in the temporary one: gone at the end, and after a kill by the next."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from reelvec.storage.errors import ReelvecError
from reelvec.tasks.temporary import remove_dead_folders, temporary_folder

CHILD = """
import time
from reelvec.tasks.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "workers").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def folders(temporary):
    return sorted((temporary / f"reelvec-{os.getuid()}").iterdir())


def test_nothing_is_left_whatever_happens(temporary):
    with suppress(RuntimeError), temporary_folder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "logs").mkdir()
        raise RuntimeError
    assert folders(temporary) == []


def test_what_a_killed_run_left_goes_and_a_living_one_stays(temporary):
    path = str(Path(__file__).parents[2] / ".editable")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    theirs = Path(child.stdout.readline().strip())
    with temporary_folder() as mine:
        remove_dead_folders()
        assert theirs.is_dir() and mine.is_dir()
    child.kill()
    child.wait()
    child.stdout.close()
    assert (theirs / "workers").exists()
    with temporary_folder() as mine:
        assert folders(temporary) == [mine.parent]


def test_a_folder_that_is_being_made_is_left_alone_for_a_minute(temporary):
    remove_dead_folders()
    made = temporary / f"reelvec-{os.getuid()}" / "0123456789abcdef"
    made.mkdir()
    remove_dead_folders()
    assert made.exists()
    old = time.time() - 120
    os.utime(made, (old, old))
    remove_dead_folders()
    assert not made.exists()


def test_a_folder_that_others_may_write_in_is_refused(temporary):
    home = temporary / f"reelvec-{os.getuid()}"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(ReelvecError, match="TMPDIR"), temporary_folder():
        pass
    home.rmdir()
    home.symlink_to(temporary)
    with pytest.raises(ReelvecError, match="TMPDIR"):
        remove_dead_folders()
