"""docs/migration.md runs as written, and the flow does what the command does."""

import os
import re
import shlex
from pathlib import Path

import pytest

import reelvec
from tests.support.command_line import typed
from tests.support.migrating import copy_of, make_ground, seen

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCK.findall(PAGE.read_text("utf-8")) for line in block.splitlines()]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return make_ground(tmp_path_factory.mktemp("ground"), videos=4)


def test_the_commands_of_the_page_run_as_written(ground, tmp_path, monkeypatch, capsys):
    store = copy_of(ground, tmp_path)
    os.link(ground.weights, tmp_path / "new.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELVEC_STORE", store)
    said = {}
    for line in COMMANDS:
        words = shlex.split(line)
        assert words[0] == "reelvec"
        code, out, err = typed(monkeypatch, capsys, *words[1:])
        assert code == 0, err
        said[" ".join(words[1:3])] = out
    assert len(COMMANDS) >= 7
    assert (
        "from cached frames" in said["migrate --weights"] or "Gate: " in said["migrate --weights"]
    )
    assert "before-new" in said["tags"]
    assert "embedding in 3 rows" in said["diff before-new"]
    assert "rolled back" not in said["history --limit"] and "promoted" in said["history --limit"]
    assert "current: base (" in said["rollback --why"]
    assert seen(store)[0] == "base"


@pytest.mark.flow
def test_the_flow_migrates_as_the_command_does(ground, tmp_path, prefect_server):
    from reelvec.flows.migrate import migrate

    store = copy_of(ground, tmp_path)
    done = migrate(store, weights=str(ground.weights))
    assert done.switched.moved.changed and reelvec.open(store).run().name == done.new
