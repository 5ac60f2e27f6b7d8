"""kill -9 at random moments, in the size CI can afford; `make kill` is the long form."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.flow
@pytest.mark.timeout(1200)
def test_a_kill_leaves_the_tables_of_an_undisturbed_run():
    command = [sys.executable, "-m", "tests.drills.kill", "--kills", "1"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kills, 0 differences" in done.stdout and " hit " in done.stdout
