"""What a command imports: the cost of a start, counted in modules, not in seconds."""

import json
import subprocess
import sys

import pytest

from reelvec.configs import PipelineConfig
from reelvec.flows.launch import launch
from tests.drills.bitflips import draw

HEAVY = ["torch", "prefect", "distributed", "dask", "av", "h5py", "PIL", "tokenizers", "pandas"]
SCRIPT = """
import json, sys
from reelvec.flows.cli import main

def call(*words):
    sys.argv = ["reelvec", *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    return sorted({name.partition(".")[0] for name in sys.modules})

words = sys.argv[1:]
sys.stdout, told = sys.stderr, sys.stdout
print(json.dumps([call("--help"), call(*words)]), file=told)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The file of a run that has done all its stages."""
    folder = tmp_path_factory.mktemp("finished")
    drawn, write = draw(folder, videos=2)
    write(drawn)
    document = {
        "name": "finished",
        "store": str(folder / "store"),
        "corpus": {
            "kind": "folder",
            "videos": str(folder / "videos"),
            "captions": str(folder / "captions.csv"),
        },
        "extract": {"size": 64, "sampling": {"rate": 2.0}},
        "model": {"family": "frozen", "max_frames": 2},
        "train": {"epochs": 0},
        "evaluate": {"bootstrap": 0},
    }
    assert launch(PipelineConfig.model_validate(document)).changed
    path = folder / "run.yaml"
    path.write_text(json.dumps(document))
    return path


def test_help_and_a_run_with_nothing_to_do_import_nothing_heavy(finished):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "run", str(finished)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "nothing was done" in done.stderr
    of_help, of_run = map(set, json.loads(done.stdout))
    assert of_help.isdisjoint([*HEAVY, "numpy", "pyarrow", "pydantic", "yaml"])
    assert {"numpy", "pyarrow", "pydantic"} <= of_run  # the same words would find torch
    assert of_run.isdisjoint(HEAVY)
