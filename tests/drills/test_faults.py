"""Refused calls over commands and a run, in the size CI can afford; the module is the long form."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.faults import compiler


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_refused_calls_end_in_words_and_cost_nothing():
    command = [
        sys.executable, "-m", "tests.drills.faults", "--each", "1", "--command-lines", "0",
        "--works", "status", "verify", "gc",
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 wrong" in done.stdout
    assert done.stdout.count("| gc |") >= 10
