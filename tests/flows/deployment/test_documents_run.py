"""docs/deploy.md and docs/scheduling.md, line by line, on the session's server.

The server is the session's, the demo is a small one, and this process does what a worker would;
`python -m tests.drills.documents` has a server, a worker and every line as a process.
"""

import contextlib
import importlib
import shlex

import pytest

from tests.support.documents import by_hand, commands, write_files
from tests.support.forms import SMALL_DEMO, own_videos
from tests.support.programs import ROOT

pytestmark = [pytest.mark.flow, pytest.mark.timeout(1200)]

PAGES = [ROOT / "docs" / name for name in ("deploy.md", "scheduling.md")]
ELSEWHERE = ("source ", "export ", "prefect server start", "prefect worker start")
"""What is there already."""
SMALL = {
    "pipeline/demo": SMALL_DEMO,
    "pipeline/folder": {"epochs": 0},
    "pipeline/clips": {"epochs": 0},
}
"""What makes runs of seconds of them: none of them trains."""


@pytest.fixture(scope="module")
def place(prefect_server, tmp_path_factory):
    """The worker's folder, as the reader has it: videos, captions, the file of a corpus."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("videos", "talks"):
        own_videos(folder, name=name)
    for page in PAGES:
        write_files(by_hand(page), folder)
    return folder


def test_the_pages_run_as_written(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lines = [line for page in PAGES for line in commands(by_hand(page))]
    done = [line for line in lines if not line.startswith(ELSEWHERE)]
    assert len(done) > 15 and set(map(program, done)) == {"reelvec", "prefect"}
    for line in done:
        words = shlex.split(line)
        if words[:3] == ["prefect", "deployment", "run"]:
            watched(words[3], given=[word for word in words[4:] if word != "--watch"])
        elif words[0] == "prefect":
            prefect(words[1:])
        else:
            reelvec(words[1:])
        if line.startswith("reelvec deploy"):
            make_small()
    shown = capsys.readouterr().out
    assert "made stage/ingest" in shown and "made reembed/clips" in shown
    assert "reembed/clips is as it should be" in shown
    assert "changed reembed/nightly: schedule" in shown


def program(line):
    return line.split()[0]


def reelvec(words):
    from reelvec.flows.commands.app import app

    assert not app(words, standalone_mode=False), words


def prefect(words):
    from prefect.cli import _app

    with pytest.raises(SystemExit) as ended:
        _app._app(words)
    assert not ended.value.code, words


def watched(full_name, *, given):
    """Start a run as the line says, do it as a worker does, and see that it completed."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    with get_client(sync_client=True) as client:
        row = client.read_deployment_by_name(full_name)
        before = {run.id for run in runs_of(client, row)}
        prefect(["deployment", "run", full_name, *given])
        (run,) = [run for run in runs_of(client, row) if run.id not in before]
    module, _, name = row.entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    state = run_flow(flow, flow_run=run, parameters=run.parameters, return_type="state")
    assert state.is_completed(), (full_name, given, state.message)


def runs_of(client, row):
    """Of the deployment, but for those that its schedule made."""
    runs = client.read_flow_runs(limit=200)
    return [run for run in runs if run.deployment_id == row.id and not run.auto_scheduled]


def make_small():
    """Change parameters on the server, as a person does."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for full_name, parameters in SMALL.items():
            with contextlib.suppress(ObjectNotFound):
                row = client.read_deployment_by_name(full_name)
                changed = DeploymentUpdate(parameters={**row.parameters, **parameters})
                client.update_deployment(row.id, changed)
