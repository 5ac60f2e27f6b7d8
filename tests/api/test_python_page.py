"""docs/python.md is a notebook: its cells run in order in a folder with modules of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
FACTS = """
import json
print("FACTS", json.dumps({
    "ids": list(ids), "vectors": vectors.shape, "similarity": similarity.shape,
    "test": list(test_ids), "frames": clip.frames.shape, "train": len(train),
    "batch": batch.frames.shape, "queries": queries.shape,
    "again": float(abs(again - vectors[:2]).max()), "damaged": len(damaged),
    "failed": [row.video_id for row in run.failures()],
}))
"""


@pytest.fixture
def folder(real_store, tmp_path):
    """A folder with a store, and modules of its own under five of our names."""
    for name in ("models/__init__.py", "configs/__init__.py", "storage.py", "tasks.py", "flows.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise ImportError('not ours')\n")
    (tmp_path / "reelvec-store").symlink_to(real_store.store)
    return tmp_path


def test_the_page_runs(folder):
    cells = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(cells) > 8
    script = "\n".join([*cells, FACTS])
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "no run is called (dmeo)" in run.stdout
    facts = json.loads(run.stdout.rpartition("FACTS ")[2])
    assert facts.pop("again") < 1e-5
    assert facts == {
        "ids": [f"clip{n}" for n in range(8)],
        "vectors": [8, 128],
        "similarity": [20, 8],
        "test": [f"clip{n}" for n in range(4, 8)],
        "frames": [4, 64, 64, 3],
        "train": 8,
        "batch": [4, 4, 64, 64, 3],
        "queries": [2, 128],
        "damaged": 0,
        "failed": ["broken", "cut"],
    }
