"""What a process of a training does not import."""

import subprocess
import sys

import pytest

from tests.support.programs import ROOT

TRAINER = """
import sys
from reelvec.tasks.training import worker

worker.main(["no-spec.json"])
import pyarrow as pa

pa.array(["a list"])
print("pandas" in sys.modules)
pa.table({"a": [1]}).to_pandas()
print("pandas" in sys.modules)
"""


def test_a_training_process_imports_pandas_only_where_it_is_asked_for():
    pytest.importorskip("pandas")
    done = subprocess.run(
        [sys.executable, "-c", TRAINER], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-2:] == ["False", "True"]
