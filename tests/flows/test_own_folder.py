"""From a folder whose own modules have our folders' names: each way in runs, and cleans up.

A machine-learning project has a `models/` and a `configs/` of its own, and Prefect's hook process
puts its own folder, which holds a `storage.py`, first on sys.path. Only `reelvec` is ours.
"""

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from reelvec.flows.deployment.deploy import PULL_STEPS
from tests.support.programs import Watched, end, python, run_watched

pytestmark = [pytest.mark.flow, pytest.mark.timeout(2000)]

PATIENCE = 900  # seconds for what takes ten: these tests share the machine with others

THEIRS = ("configs/__init__.py", "models/__init__.py", "storage.py", "tasks.py", "flows.py")
SMALL = """
name: small
corpus: {kind: synthetic, videos: 8, seconds: 1.0, fps: 4, size: 64}
extract: {size: 64, sampling: {policy: uniform, count: 2}}
model: {family: clip4clip, options: {sim_header: meanP}, max_frames: 2}
train: {epochs: 1, batch_size: 4, threads: 1, processes: 2}
evaluate: {bootstrap: 10}
workers: 1
"""
SCRIPT = """
import configs, flows, models, storage, tasks
import reelvec, reelvec.configs, reelvec.models.registry, reelvec.storage.corpora
import reelvec.flows.pipeline

assert all(module.MINE for module in (configs, flows, models, storage, tasks))
print(reelvec.configs.load("run.yaml").name, len(reelvec.models.registry.family_names()))
"""
NIGHTLY = """
from pathlib import Path

from reelvec.flows.pipeline import pipeline
from reelvec.storage.layout import artifact


@pipeline.on_cancellation
def told(flow, flow_run, state):
    Path(__file__).with_name("told.txt").write_text(f"{flow.name} {artifact.__module__}")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Somebody's folder: modules named as ours, a config, a script, a flow with a hook."""
    folder = tmp_path_factory.mktemp("project")
    for name in THEIRS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("MINE = True\n")
    (folder / "run.yaml").write_text(SMALL)
    (folder / "use.py").write_text(SCRIPT)
    (folder / "nightly.py").write_text(NIGHTLY)
    deployments = [
        {"name": "small", "entrypoint": "reelvec.flows.pipeline.pipeline"},
        {"name": "told", "entrypoint": "nightly.py:pipeline"},
    ]
    for deployment in deployments:
        deployment["work_pool"] = {"name": "reelvec"}
    mine = {"name": "mine", "pull": PULL_STEPS, "deployments": deployments}
    (folder / "prefect.yaml").write_text(yaml.safe_dump(mine))
    return folder


@pytest.fixture(scope="module")
def command_line(project):
    """`reelvec run` with two training processes: (done, watched)."""
    words = ["run", "run.yaml", "--store", "cli-store", "--json"]
    done, watched = run_watched(
        python("-m", "reelvec.flows.cli", *words),
        cwd=project,
        timeout=PATIENCE,
    )
    yield done, watched
    watched.kill()


def test_the_command_line_runs(command_line):
    done, _ = command_line
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["coverage"]["ok"] == 8


def test_nothing_listens_beyond_loopback(command_line):
    _, watched = command_line
    assert watched.listened
    assert watched.open_doors == set()


def test_nothing_is_asked_beyond_this_machine(command_line):
    _, watched = command_line
    assert watched.outbound() == []


def test_nothing_is_left_running(command_line):
    _, watched = command_line
    assert watched.left_running() == []


def test_a_script_has_both(project):
    done, _ = run_watched(python("use.py"), cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "small"


# --- a worker -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker(prefect_server, project):
    """A process worker started in that folder, with its two deployments: its log and Watched."""
    from prefect.settings import PREFECT_API_URL

    from reelvec.flows.deployment.bootstrap import bootstrap_server

    list(bootstrap_server(pool="reelvec"))
    server = {"PREFECT_API_URL": PREFECT_API_URL.value(), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    server |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # docs/deploy.md
    deployed, _ = run_watched(
        python("-m", "prefect", "--no-prompt", "deploy", "--all"), cwd=project, **server
    )
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    watched, log = Watched(), project / "worker.log"
    with log.open("w") as file:
        child = subprocess.Popen(
            python("-m", "prefect", "worker", "start", "--pool", "reelvec"),
            cwd=project, env=watched.environment(project, **server), stdout=file, stderr=file,
        )  # fmt: skip
        yield log, watched
        end(child)
    watched.kill()


def start(deployment, project, **more):
    """Start a run of a deployment by the worker: the small config with these changes, no model."""
    from prefect.deployments import run_deployment

    config = yaml.safe_load((project / "run.yaml").read_text()) | more
    given = {"config": config, "only": ["ingest"]}
    return run_deployment(f"pipeline/{deployment}", parameters=given, timeout=0)


def wait_for(run, *states, log):
    """The run's state once it is one of `states`."""
    from prefect.client.orchestration import get_client

    until = time.monotonic() + PATIENCE
    with get_client(sync_client=True) as client:
        while True:
            state = client.read_flow_run(run.id).state
            if state.name in states:
                return state
            assert time.monotonic() < until, f"{state}\n{log.read_text()}"
            time.sleep(0.3)


def test_a_workers_run_completes(worker, project):
    log, _ = worker
    run = start("small", project, store="worker-store")
    state = wait_for(run, "Completed", "Failed", "Crashed", log=log)
    assert state.name == "Completed", log.read_text()
    assert (project / "worker-store" / "corpus").is_dir()


def test_a_cancelled_run_is_told_and_leaves_nothing(worker, project):
    """The hook runs in a process that sees Prefect's `runner/` folder first."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    log, watched = worker
    before = len(watched._alive())
    corpus = {"kind": "synthetic", "videos": 900, "seconds": 8.0}
    run = start("told", project, store="cancelled-store", corpus=corpus)
    until = time.monotonic() + PATIENCE
    while not (project / "cancelled-store").is_dir():  # the flow itself is at work
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    wait_for(run, "Cancelled", log=log)
    told = Path(project / "told.txt")
    until = time.monotonic() + 90
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert told.exists(), log.read_text()
    assert told.read_text() == "pipeline reelvec.storage.layout"
    while len(watched._alive()) > before and time.monotonic() < until:
        time.sleep(0.2)
    assert len(watched._alive()) <= before, watched.left_running(patience=0)
    assert watched.outbound() == []
