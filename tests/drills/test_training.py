"""Two nodes under srun's variables, one killed: what CI can afford of tests/drills/training.py."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_of_which_one_dies_end_as_one_that_was_left_alone():
    command = [sys.executable, "-m", "tests.drills.training", "--short"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 drills, 0 wrong" in done.stdout
    assert "(SIGKILL)" in done.stdout
