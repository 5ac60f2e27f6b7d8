"""Prefect reports its use to its makers by default: nowhere in what is started or documented."""

import os
import pty
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.programs import OUTBOUND, ROOT

QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def on_a_terminal(code, folder):
    """What a person sees of a Python program, who never used Prefect; and whom it called."""
    calls = folder / "calls"
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([OUTBOUND, str(ROOT / ".editable")]),
        "REELVEC_TEST_OUTBOUND": str(calls),
    }
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", code], environment)  # noqa: S606
    seen = b""
    try:
        while data := os.read(terminal, 4096):
            seen += data
    except OSError:  # how a terminal says that the last program has left it
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen.decode()
    return seen.decode(), calls.read_text() if calls.exists() else ""


@pytest.mark.parametrize(
    "module", ["reelvec.flows.commands.app", "reelvec.flows.deployment.bootstrap"]
)
def test_no_notice_is_shown_and_nobody_called(tmp_path, module):
    seen, calls = on_a_terminal(f"import {module}, prefect; print('ready')", tmp_path)
    assert seen.split() == ["ready"]
    assert calls == ""
    assert not list(tmp_path.rglob(".sdk_telemetry"))


WITHOUT_PREFECT = {"bucket", "dask-scheduler", "objects", "postgres", "prometheus"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_the_compose_file_says_so_to_what_uses_prefect(name):
    service = COMPOSE["services"][name]
    environment = service.get("environment", {})
    uses_prefect = "PREFECT_API_URL" in environment or name == "server"
    assert uses_prefect == (name not in WITHOUT_PREFECT)
    if uses_prefect:
        assert service["environment"].items() >= QUIET.items()


@pytest.mark.parametrize("place", ["docs/deploy.md", "Dockerfile"])
def test_the_documents_say_so(place):
    words = Path(ROOT, place).read_text()
    assert all(f"{name}={value}" in words for name, value in QUIET.items())
