"""Workers that share nothing but a bucket, one lost in two stages: what CI does of cluster.py."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytest.importorskip("moto.server", reason="moto's server is not installed")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cluster_that_shares_a_bucket_alone_ends_as_one_machine_does():
    command = [sys.executable, "-m", "tests.drills.cluster", "--short"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 drills, 0 wrong" in done.stdout
    assert done.stdout.count("lost after") == 2
