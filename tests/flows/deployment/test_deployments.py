"""prefect.yaml, the compose file, the image and docs/ say what the code does."""

import importlib
import inspect
import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from reelvec.flows.deployment.bootstrap import bootstrap_server
from reelvec.flows.deployment.forms import RunForm
from reelvec.storage.errors import ReelvecError

ROOT = Path(__file__).parents[3]
PREFECT = yaml.safe_load((ROOT / "prefect.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOCS = [ROOT / "docs" / name for name in ("deploy.md", "scheduling.md", "scaling-out.md")]
DEPLOYMENTS = {d["name"]: d for d in PREFECT["deployments"]}
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def imported(dotted):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def full_name(deployment):
    return f"{imported(deployment['entrypoint']).name}/{deployment['name']}"


def test_the_deployments_are_these():
    found = {full_name(d) for d in DEPLOYMENTS.values()}
    assert found == {"pipeline/demo", "pipeline/folder", "reembed/nightly", "retry/failures"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_entrypoints_are_dotted(name):
    """A colon makes Prefect load the file by path: a second copy of its module, from a checkout."""
    entrypoint = DEPLOYMENTS[name]["entrypoint"]
    assert ":" not in entrypoint and entrypoint.startswith("reelvec.flows.")


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_parameters_are_the_flows_own(name):
    flow = imported(DEPLOYMENTS[name]["entrypoint"])
    checked = flow.validate_parameters(DEPLOYMENTS[name]["parameters"])
    assert set(checked) <= set(inspect.signature(flow.fn).parameters)


def test_the_deployments_share_one_store():
    """So that the nightly run finds, and keeps true, the tables the other runs made."""
    assert len({d["parameters"]["store"] for d in DEPLOYMENTS.values()}) == 1


def test_the_schedule_keeps_its_identity_and_never_piles_up():
    nightly = DEPLOYMENTS["nightly"]
    (schedule,) = nightly["schedules"]
    assert schedule["slug"] == "nightly" and schedule["cron"] and schedule["active"]
    for deployment in DEPLOYMENTS.values():
        limit = deployment["concurrency_limit"]
        assert (limit["limit"], limit["collision_strategy"]) == (1, "CANCEL_NEW")
        assert limit["grace_period_seconds"] >= 60


def test_pull_step_goes_to_the_workers_folder(monkeypatch, tmp_path):
    ((step, inputs),) = PREFECT["pull"][0].items()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("REELVEC_HOME", str(tmp_path / "here"))
    assert imported(step)(**inputs) == {"directory": str(tmp_path / "here")}
    assert Path.cwd() == tmp_path / "here"
    monkeypatch.delenv("REELVEC_HOME")
    assert imported(step)(**inputs) == {"directory": str(tmp_path)}


@pytest.mark.parametrize("folder", ["", "relative", "/nowhere/at/all"])
def test_pull_step_refuses_a_folder_that_is_not_there(monkeypatch, folder):
    monkeypatch.setenv("REELVEC_HOME", folder)
    monkeypatch.delenv("PWD", raising=False)
    with pytest.raises(ReelvecError, match="REELVEC_HOME=/absolute/path"):
        imported("reelvec.flows.deployment.workplace.enter_worker_folder")()


def test_the_pool_is_the_one_bootstrap_makes():
    from reelvec.flows.commands.keeping import bootstrap

    default = inspect.signature(bootstrap).parameters["pool"].default
    pools = {d["work_pool"]["name"] for d in DEPLOYMENTS.values()}
    worker = SERVICES["worker"]["command"]
    assert pools == {default} == {worker[worker.index("--pool") + 1]}


@pytest.mark.flow
@pytest.mark.timeout(600)
def test_deploy(prefect_server):
    """The real command against a real server; a second time the schedule stays the same one."""
    from prefect.client.orchestration import get_client

    list(bootstrap_server(pool="reelvec"))
    deploy("--all")
    first = read("reembed/nightly")
    deploy("--name", "nightly")
    assert [(s.id, s.slug) for s in read("reembed/nightly").schedules] == [
        (s.id, "nightly") for s in first.schedules
    ]
    demo = read("pipeline/demo")
    assert demo.parameters == DEPLOYMENTS["demo"]["parameters"]
    form = parameter_schema(imported(DEPLOYMENTS["demo"]["entrypoint"]))
    assert demo.parameter_openapi_schema["properties"] == form.properties
    assert demo.pull_steps == PREFECT["pull"]
    assert str(ROOT) not in demo.model_dump_json(exclude={"path"})
    with get_client(sync_client=True) as client:
        # what the scheduler does every minute; with SQLAlchemy 2.1 it fails, and says so in the
        # server's log alone
        client._client.post(f"/deployments/{first.id}/schedule", json={}).raise_for_status()
        runs = client.read_flow_runs(limit=50)
    assert [r for r in runs if r.deployment_id == first.id and r.auto_scheduled]


def read(name):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


def deploy(*which):
    from prefect.settings import PREFECT_API_URL

    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *which],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- compose and the image ------------------------------------------------------------------------


def variables(node):
    """Every ${VAR…} of the file: (name, operator, rest)."""
    if isinstance(node, dict):
        return [v for value in node.values() for v in variables(value)]
    if isinstance(node, list):
        return [v for value in node for v in variables(value)]
    return VARIABLE.findall(node) if isinstance(node, str) else []


def test_the_services_are_these():
    always = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert always == {
        "dask-scheduler", "dask-worker", "deploy", "postgres", "serve", "server", "worker",
    }  # fmt: skip
    asked_for = {name: SERVICES[name]["profiles"] for name in set(SERVICES) - always}
    assert asked_for == {"objects": ["objects"], "bucket": ["objects"], "prometheus": ["metrics"]}


def test_no_secret_has_a_default():
    """What every start needs must be given; what a profile needs is empty, which starts nothing."""
    secrets = [v for v in variables(COMPOSE) if re.search(r"PASSWORD|AUTH|SECRET|TOKEN", v[0])]
    needed = {"POSTGRES_PASSWORD", "PREFECT_AUTH", "REELVEC_PAGE_TOKEN"}
    assert {name for name, _, _ in secrets} == needed | {"AWS_SECRET_ACCESS_KEY"}
    for name, operator, rest in secrets:
        wanted = ("?", True) if name in needed else ("-", False)
        assert (operator, ".env.example" in rest) == wanted and (operator == "?" or not rest)
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH_STRING|CONNECTION_URL|SECRET|TOKEN", key):
                assert VARIABLE.fullmatch(str(value)), key


def test_an_object_store_without_a_password_does_not_start(tmp_path):
    """MinIO would take one that everybody knows."""
    shell, flag, script = SERVICES["objects"]["entrypoint"]
    (tmp_path / "minio").write_text("#!/bin/sh\necho started $@")
    (tmp_path / "minio").chmod(0o755)

    def started(password):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MINIO_ROOT_PASSWORD": password}
        words = [shell, flag, script.replace("$$", "$")]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    assert started("").returncode == 1 and "AWS_SECRET_ACCESS_KEY" in started("short").stderr
    assert started("long enough").stdout == "started server /objects\n"


def test_env_example_names_every_variable_and_holds_no_secret():
    text = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, flags=re.M))
    used = {name: (operator, rest) for name, operator, rest in variables([COMPOSE, GPU])}
    assert set(given) == set(used)
    for name, (operator, rest) in used.items():
        assert given[name] == ("" if operator == "?" else rest), name
    required = set(re.findall(r"^([A-Z_]+)=", text, flags=re.M))
    assert required == {name for name, (operator, _) in used.items() if operator == "?"}


def test_env_is_never_committed_or_shipped():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and "!.env" not in ignored


def test_ports_are_bound_to_loopback():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), f"{name}: {port}"


def test_what_is_exposed_is_this_and_no_more():
    """It asks for a password or a token, or only shows numbers; nothing uses the host's network."""
    ports = {name: [port.rpartition(":")[2] for port in s["ports"]] for name, s in SERVICES.items()
             if "ports" in s}  # fmt: skip
    assert ports == {
        "server": ["4200"], "serve": ["8765"], "dask-scheduler": ["8787"], "prometheus": ["9090"],
    }  # fmt: skip
    for name, service in SERVICES.items():
        loose = {"network_mode", "networks", "privileged", "pid", "ipc", "expose"} & set(service)
        assert not loose, f"{name}: {loose}"
        assert not any("docker.sock" in str(mount) for mount in service.get("volumes", ()))
        assert "no-new-privileges:true" in service["security_opt"], name
    assert "ports" not in GPU["services"]["worker"] and set(GPU["services"]) == {"worker"}


def test_the_page_asks_for_a_token_and_prometheus_brings_it():
    from reelvec.flows.page.guard import check_token, is_loopback

    serve = SERVICES["serve"]
    host = serve["command"][serve["command"].index("--host") + 1]
    assert not is_loopback(host)
    with pytest.raises(ReelvecError, match="needs a token"):
        check_token("", host=host)
    told = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"]
    (job,) = told
    assert VARIABLE.fullmatch(job["authorization"]["credentials"])[1] == "REELVEC_PAGE_TOKEN"
    assert job["static_configs"] == [{"targets": ["serve:8765"]}]
    (given,) = SERVICES["prometheus"]["configs"]
    assert f"--config.file={given['target']}" in SERVICES["prometheus"]["command"]


def test_the_gpus_are_the_workers_in_an_image_of_the_same_version():
    worker = GPU["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert worker["image"] == f"{SERVICES['worker']['image']}-cuda"
    (argument,) = worker["build"]["args"]
    assert argument in SERVICES["server"]["build"]["args"] and f"ARG {argument}=" in DOCKERFILE


def test_the_database_and_the_scheduler_are_not_published():
    assert "ports" not in SERVICES["postgres"]
    assert not any(":8786" in port for port in SERVICES["dask-scheduler"]["ports"])


ONCE = {"deploy", "bucket"}
"""Services that end."""


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_services_that_stay_have_a_health_check_and_come_back(name):
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONCE))
def test_a_one_shot_service_ends(name):
    assert SERVICES[name]["restart"].startswith("on-failure")
    assert "healthcheck" not in SERVICES[name]


def test_services_wait_for_what_they_need():
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_healthy" if "healthcheck" in SERVICES[needed] else None
            assert how["condition"] == (wanted or "service_completed_successfully")


def test_images_are_pinned_and_ours_is_one():
    images = {service["image"] for service in SERVICES.values()}
    ours = {image for image in images if image.startswith("reelvec:")}
    assert len(ours) == 1 and len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z./]+:(v?\d+\.\d+(\.\d+)?(-[a-z]+)?|RELEASE\.[\dTZ-]+)", image), (
            image
        )
    assert sum("build" in service for service in SERVICES.values()) == 1


def test_the_images_version_is_the_packages():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, flags=re.M)[1]
    assert SERVICES["worker"]["image"] == f"reelvec:{version}"
    assert f"-t reelvec:{version} " in DOCKERFILE


def test_videos_are_read_only_and_the_store_is_shared():
    for name in ("worker", "dask-worker", "serve"):
        mounts = SERVICES[name]["volumes"]
        assert "data:/data" in mounts
        assert any(mount.endswith(":/data/videos:ro") for mount in mounts)
        assert SERVICES[name]["shm_size"]


def test_the_image_runs_as_an_ordinary_user_on_a_supported_python():
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.M)
    assert re.fullmatch(r"python:3\.1[1-4]\.\d+-slim-\w+", froms[0])
    assert re.search(r"^USER 10001", DOCKERFILE, flags=re.M)
    assert "ARG TORCH_INDEX=" in DOCKERFILE


def test_the_image_ships_what_the_wheel_needs():
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    packages = {"reelvec", "flows", "tasks", "storage", "models", "configs"}
    assert packages | {"pyproject.toml", "README.md", "LICENSE"} <= kept
    assert {"requirements.lock", "prefect.yaml"} <= kept
    assert all((ROOT / path).exists() for path in kept)


OURS = sorted(name for name, service in SERVICES.items() if "reelvec:" in service["image"])


@pytest.mark.parametrize("name", OURS)
def test_commands_are_programs_of_the_image(name):
    command = SERVICES[name]["command"]
    text = command[-1] if command[0] == "sh" else shlex.join(command)
    for part in text.split("&&"):
        assert (Path(sys.executable).parent / part.split()[0]).exists(), part


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_settings_are_prefects_own(name, monkeypatch):
    """A misspelt PREFECT_ variable is silently ignored by Prefect; a wrong value stops it."""
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings

    known = _get_valid_setting_names(Settings)
    for key, value in SERVICES[name].get("environment", {}).items():
        if key.startswith("PREFECT_"):
            assert key in known, key
            monkeypatch.setenv(key, VARIABLE.sub("user:word", value))
    Settings()


# --- documents ------------------------------------------------------------------------------------


def fenced(path):
    """Blocks of code: (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), flags=re.M | re.S)


def commands(path):
    blocks = [text for language, text in fenced(path) if language in ("bash", "sh")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_yaml_in_the_documents_parses(path):
    for language, text in fenced(path):
        if language == "yaml":
            yaml.safe_load(text)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_documents_name_deployments_pools_and_words_that_exist(path):
    from typer.main import get_command

    from reelvec.flows.commands.app import app

    words = set(get_command(app).commands)
    names = {full_name(d) for d in DEPLOYMENTS.values()}
    found = commands(path)
    assert found
    for line in found:
        for name in re.findall(r"\b(?:pipeline|reembed|retry)/[\w-]+", line):
            assert name in names, line
        for pool in re.findall(r"(?:--pool|work-pool create) (\S+)", line):
            assert pool == "reelvec", line
        for word in re.findall(r"(?:^|/| )reelvec ([a-z]+)", line):
            assert word in words, line


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_parameters_in_the_documents_validate(path):
    """What follows --param, --params and --set, read as the flow and the loader read it."""
    from reelvec.configs import load

    for line in commands(path):
        given = {}
        for option, value in itertools.pairwise(shlex.split(line)):
            if option == "--params":
                given |= yaml.safe_load(value)
            if option == "--param":
                key, _, text = value.partition("=")
                given[key] = yaml.safe_load(text)
            if option == "--set":
                load("demo", overrides=[value])
        if given:
            (name,) = re.findall(r"deployment run \w+/([\w-]+)", line)
            check_parameters(DEPLOYMENTS[name], given)


def check_parameters(deployment, given):
    """A deployment with these parameters has a run that can be described."""
    flow = imported(deployment["entrypoint"])
    fields = flow.validate_parameters(deployment["parameters"] | given)
    if flow.name == "pipeline":
        RunForm(**fields).config()


def test_deployments_in_the_documents_validate():
    shown = [
        deployment
        for path in DOCS
        for language, text in fenced(path)
        if language == "yaml"
        for deployment in yaml.safe_load(text).get("deployments", [])
    ]
    assert shown
    for deployment in shown:
        flow = imported(deployment["entrypoint"])
        assert flow.validate_parameters(deployment["parameters"])


def test_the_documents_list_each_forms_fields():
    text = (ROOT / "docs" / "deploy.md").read_text()
    for deployment in DEPLOYMENTS.values():
        flow = imported(deployment["entrypoint"])
        (line,) = [
            row for row in text.splitlines() if row.startswith("|") and full_name(deployment) in row
        ]
        listed = re.findall(r"`(\w+)`", line.split("|")[2])
        assert listed == list(flow.parameters.properties), full_name(deployment)
