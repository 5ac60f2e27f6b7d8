"""What a command imports: the cost of a start, counted in modules, not in seconds."""

import json
import os
import subprocess
import sys

import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.flows.commands.app import app
from reelvec.flows.launch import launch
from reelvec.models.clip.architecture import SMALLEST, architecture
from reelvec.models.registry import ZERO_SHOT, build
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
    return sorted(sys.modules)

commands = json.loads(sys.argv[1])
sys.stdout, told = sys.stderr, sys.stdout
print(json.dumps([call(*words) for words in commands]), file=told)
"""
NOTHING = "nothing was done"


def imported(*commands):
    """What is imported after each of these command lines, one after another in one process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [set(names) for names in json.loads(done.stdout)], done.stderr


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
    (of_help, of_run), words = imported(["--help"], ["run", str(finished)])
    assert NOTHING in words
    assert of_help.isdisjoint([*HEAVY, "numpy", "pyarrow", "pydantic", "yaml"])
    assert {"numpy", "pyarrow", "pydantic"} <= of_run  # the same words would find torch
    assert of_run.isdisjoint(HEAVY)


@pytest.fixture
def embeddings(finished, tmp_path, monkeypatch):
    """Two command lines that have embedded the folder: by a weights file, and by none."""
    weights, videos = tmp_path / "weights.pt", str(finished.parent / "videos")
    torch.manual_seed(0)
    sizes = architecture(SMALLEST)
    model = build(ZERO_SHOT, options={}, architecture=sizes, max_words=8, max_frames=2)
    torch.save(model.clip.state_dict(), weights)
    monkeypatch.setenv("HOME", str(tmp_path))  # no archive in ~/.cache/clip
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    named = ["embed", videos, "--weights", str(weights), "--store", str(tmp_path / "named")]
    unnamed = ["embed", videos, "--store", str(tmp_path / "unnamed")]
    for words in (named, unnamed):
        assert app(words, standalone_mode=False) in (0, None)
    return weights, [named, unnamed]


def test_an_embedded_folder_is_known_without_torch_until_its_weights_are_others(embeddings):
    weights, commands = embeddings
    after, words = imported(*commands)
    assert words.count(NOTHING) == len(commands)
    for modules in after:
        assert "pyarrow" in modules and modules.isdisjoint(HEAVY)
    written = weights.stat()
    state = torch.load(weights, weights_only=True)
    state["visual.proj"] += 1
    torch.save(state, weights)  # in place, of the same size, and with its old time:
    os.utime(weights, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert weights.stat().st_size == written.st_size
    (after,), words = imported(commands[0])
    assert NOTHING not in words and "torch" in after
    assert "torch._dynamo" not in after  # as long to import as all the rest of torch


def test_a_command_that_filters_ends_without_a_word(embeddings):
    """What is left at the end of a process DuckDB's bindings call leaks, on stderr."""
    pytest.importorskip("duckdb")
    _, commands = embeddings
    store = commands[1][-1]
    (modules,), words = imported(["search", "red", "--where", "bytes > 0", "--store", store])
    assert "duckdb" in modules and "leaked" not in words
