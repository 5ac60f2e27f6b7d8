"""The table of deployments, the compose file, the image and docs/ say what the code does."""

import asyncio
import importlib
import inspect
import itertools
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

from reelvec.configs import ConfigError
from reelvec.configs.schema import STAGES
from reelvec.flows.deployment.bootstrap import bootstrap_server
from reelvec.flows.deployment.deploy import PULL_STEPS, Place, deploy
from reelvec.flows.deployment.forms import RunForm, StageForm
from reelvec.flows.deployment.table import corpus_files, deployments, of_corpora
from reelvec.storage.errors import ReelvecError
from tests.support import documents
from tests.support.command_line import typed

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GPU = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOCS = [ROOT / "docs" / name for name in ("deploy.md", "scheduling.md", "scaling-out.md")]
DEPLOYMENTS = {row.full_name: row for row in deployments(store="reelvec-store")}
SERVICES = COMPOSE["services"]
FLOWS = "|".join({row.flow.name for row in DEPLOYMENTS.values()})
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def imported(dotted):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_deployments_are_these():
    stages = {f"stage/{name}" for name in STAGES}
    assert set(DEPLOYMENTS) == stages | {
        "pipeline/demo", "pipeline/folder", "reembed/nightly", "retry/failures", "migrate/store",
        "verify/store", "gc/store", "compact/store",
    }  # fmt: skip


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_entrypoints_are_dotted_and_lead_to_their_flow(name):
    """A colon makes Prefect load the file by path: a second copy of its module, from a checkout."""
    row = DEPLOYMENTS[name]
    assert ":" not in row.entrypoint and row.entrypoint.startswith("reelvec.flows.")
    assert imported(row.entrypoint) is row.flow


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_parameters_are_the_flows_own(name):
    row = DEPLOYMENTS[name]
    asked = {"weights": "ViT-B-32.pt"} if name == "migrate/store" else {}
    checked = row.flow.validate_parameters({**row.parameters, **asked})
    assert set(checked) <= set(inspect.signature(row.flow.fn).parameters)


def test_the_deployments_share_one_store():
    """So that the nightly run finds, and keeps true, the tables the other runs made."""
    assert {row.parameters["store"] for row in DEPLOYMENTS.values()} == {"reelvec-store"}


def test_what_needs_a_model_waits_for_a_gpu():
    cpu = {name for name, row in DEPLOYMENTS.items() if row.queue == "cpu"}
    reads = {f"stage/{name}" for name in ("ingest", "extract", "audio", "evaluate", "report")}
    assert cpu == reads | {"verify/store", "gc/store", "compact/store"}
    assert {row.queue for row in DEPLOYMENTS.values()} == {"cpu", "gpu"}


def test_schedules_have_lasting_names():
    scheduled = {name: row.slug for name, row in DEPLOYMENTS.items() if row.cron}
    assert scheduled == {
        "reembed/nightly": "nightly", "verify/store": "weekly", "gc/store": "weekly"
    }  # fmt: skip


# --- a corpus' own --------------------------------------------------------------------------------


def corpus_file(folder, name, **more):
    document = {"name": name, "preset": "folder", "corpus": {"videos": f"/srv/{name}"}, **more}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def test_a_corpus_has_a_run_and_a_nightly(tmp_path):
    file = corpus_file(tmp_path, "clips", store="/srv/clips-store")
    run, night = of_corpora([file], store=None)
    assert [run.full_name, night.full_name] == ["pipeline/clips", "reembed/clips"]
    config = RunForm(**run.flow.validate_parameters(dict(run.parameters))).config()
    assert (config.name, config.store) == ("clips", "/srv/clips-store")
    assert config.corpus.videos == "/srv/clips"
    assert night.parameters == {"store": "/srv/clips-store", "runs": ["clips"]}
    assert (night.slug, bool(night.cron), run.cron) == ("nightly", True, "")
    run, night = of_corpora([file], store="elsewhere")
    assert run.parameters["store"] == night.parameters["store"] == "elsewhere"


def test_a_folder_of_corpora_is_a_nightly_each(tmp_path):
    for name in ("talks", "clips"):
        corpus_file(tmp_path, name)
    (tmp_path / "notes.txt").write_text("no corpus")
    rows = of_corpora(corpus_files([], tmp_path), store=None)
    assert [row.full_name for row in rows[1::2]] == ["reembed/clips", "reembed/talks"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: folder", r"two deployments.*\(pipeline/folder\)"),
        ("{name: ' ', preset: folder}", r"key \(name\) .* is \( \)"),
        ("{name: a/b, preset: folder}", r"key \(name\) .*\(a/b\).*without /"),
        ("{name: demo, preset: folder}", r"two deployments.*\(pipeline/demo\).*another `name`"),
        ("{name: clips}", "names no corpus"),
        ("{name: clips, corpsu: {}}", r"unknown key \(corpsu\)"),
        ("[", "not valid YAML"),
    ],
    ids=["none", "blank", "slash", "taken", "corpus", "key", "yaml"],
)
def test_a_file_that_is_no_corpus_is_refused_with_its_name(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        of_corpora([tmp_path / "mine.yaml"], store=None)


def test_two_corpora_of_one_name_are_refused(tmp_path):
    file = corpus_file(tmp_path, "clips")
    with pytest.raises(ConfigError, match=r"\(pipeline/clips\)"):
        of_corpora([file, file], store=None)


def test_a_folder_without_corpora_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no \.yaml"):
        corpus_files([], tmp_path)
    with pytest.raises(ConfigError, match="cannot be listed"):
        corpus_files([], tmp_path / "nowhere")


@pytest.mark.parametrize("given", [{"cron": "61 1 * * *"}, {"timezone": "Europa/Pariss"}], ids=str)
def test_a_time_that_cannot_be_is_refused_before_anything_is_written(given):
    with pytest.raises(ConfigError, match=r"cannot be.*--cron takes five fields"):
        next(deploy(list(DEPLOYMENTS.values()), place=Place(pool="reelvec", **given)))


# --- what a worker and a server need --------------------------------------------------------------


def test_pull_step_goes_to_the_workers_folder(monkeypatch, tmp_path):
    ((step, inputs),) = PULL_STEPS[0].items()
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
    from reelvec.flows.commands import deploying

    made, used = (
        inspect.signature(word).parameters["pool"].default
        for word in (deploying.bootstrap, deploying.deploy)
    )
    worker = SERVICES["worker"]["command"]
    assert made == used == worker[worker.index("--pool") + 1]


def test_a_server_that_was_restarted_knows_who_holds_a_slot(tmp_path):
    """In memory it forgets the lease, and the run that asks to renew it is ended."""
    setting = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    named = SERVICES["server"]["environment"][setting]
    assert f"export {setting}={named}\n" in (ROOT / "docs" / "deploy.md").read_text("utf-8")
    made = importlib.import_module(named).ConcurrencyLeaseStorage
    lasting = timedelta(seconds=300)
    lease = asyncio.run(made(tmp_path).create_lease(resource_ids=[uuid4()], ttl=lasting))
    assert asyncio.run(made(tmp_path).renew_lease(lease.id, ttl=lasting))


def test_a_worker_has_room_for_a_run_that_is_to_be_cancelled():
    """Prefect cancels it as it is taken; a worker that is full takes none, and it waits."""
    worker = SERVICES["worker"]["command"]
    limits = [worker[worker.index("--limit") + 1]]
    for page in ("deploy.md", "scaling-out.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        limits += re.findall(r"prefect worker start --pool reelvec --limit (\d+)", text)
    assert len(limits) == 3 and min(map(int, limits)) >= 2


@pytest.mark.parametrize("command", ["deploy", "bootstrap"])
def test_without_a_server_it_says_how_to_start_one(monkeypatch, capsys, command):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        code, _, err = typed(monkeypatch, capsys, command)
    assert code == 1 and f"{command} needs a running server" in err
    assert "PREFECT_API_URL=http" in err


def read(name):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


@pytest.mark.flow
@pytest.mark.timeout(600)
def test_deploy(prefect_server, tmp_path):
    """Made once; then what differs is changed, and a schedule is the operator's."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    list(bootstrap_server(pool="reelvec"))
    chosen = ("pipeline/demo", "reembed/nightly", "gc/store")
    rows = [replace(DEPLOYMENTS[name], name="tried") for name in chosen]
    rows += of_corpora([corpus_file(tmp_path, "films")], store=None)[1:]
    place = Place(pool="reelvec")
    with pytest.raises(ReelvecError, match=r"no work pool \(other\).*bootstrap --pool other"):
        next(deploy(rows, place=Place(pool="other")))
    assert all(one.made for one in deploy(rows, place=place))
    assert not any(one.made or one.changed for one in deploy(rows, place=place))
    demo, first = read("pipeline/tried"), read("reembed/tried")
    assert demo.parameters == DEPLOYMENTS["pipeline/demo"].parameters
    form = parameter_schema(DEPLOYMENTS["pipeline/demo"].flow)
    assert demo.parameter_openapi_schema["properties"] == form.properties
    assert demo.pull_steps == PULL_STEPS and demo.enforce_parameter_schema
    assert demo.work_pool_name == "reelvec" and demo.work_queue_name == "gpu"
    assert str(ROOT) not in demo.model_dump_json()
    (films,) = read("reembed/films").schedules
    with get_client(sync_client=True) as client:
        # as somebody edits them in the UI
        own = {"env": {"CUDA_VISIBLE_DEVICES": "1"}}
        edited = DeploymentUpdate(
            parameters={"config": {"preset": "demo"}}, tags=[], job_variables=own
        )
        client.update_deployment(demo.id, edited)
        client.update_deployment_schedule(first.id, first.schedules[0].id, active=False)
    lines = [one.words for one in deploy(rows, place=place)]
    assert lines[0] == "changed pipeline/tried: parameters, tags, job variables"
    again = read("pipeline/tried")
    assert again.job_variables == {"env": own["env"] | demo.job_variables["env"]}
    assert again.tags == demo.tags
    assert all(line.endswith("is as it should be") for line in lines[1:])
    assert [schedule.active for schedule in read("reembed/tried").schedules] == [False]
    moved = list(
        deploy(rows, place=Place(pool="reelvec", cron="30 1 * * 1-5", timezone="Asia/Tokyo"))
    )
    assert [one.name for one in moved if one.changed == ("schedule",)] == [
        "reembed/tried", "reembed/films"
    ]  # fmt: skip
    (now,) = read("reembed/films").schedules
    assert (now.id, now.slug, now.active) == (films.id, "nightly", True)
    assert (now.schedule.cron, now.schedule.timezone) == ("30 1 * * 1-5", "Asia/Tokyo")
    for found in (demo, first):
        limit = read(f"{'pipeline' if found is demo else 'reembed'}/tried")
        assert limit.global_concurrency_limit.limit == 1
        assert limit.concurrency_options.collision_strategy == "CANCEL_NEW"
        assert limit.concurrency_options.grace_period_seconds >= 60
    films = read("reembed/films")
    with get_client(sync_client=True) as client:
        # what the scheduler does every minute; with SQLAlchemy 2.1 it fails, and says so in the
        # server's log alone
        client._client.post(f"/deployments/{films.id}/schedule", json={}).raise_for_status()
        runs = client.read_flow_runs(limit=50)
    assert [r for r in runs if r.deployment_id == films.id and r.auto_scheduled]


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
    assert "requirements.lock" in kept
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


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_yaml_in_the_documents_parses(path):
    for language, text in documents.fenced(path.read_text()):
        if language == "yaml":
            yaml.safe_load(text)


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_documents_name_deployments_pools_and_words_that_exist(path):
    from typer.main import get_command

    from reelvec.flows.commands.app import app

    words = set(get_command(app).commands)
    found = documents.commands(path.read_text())
    assert found
    for line in found:
        for name in re.findall(rf"\b(?:{FLOWS})/[\w-]+", line):
            of_a_corpus = name.endswith(("/clips", "/talks"))  # the page's two
            assert name in DEPLOYMENTS or of_a_corpus, line
        for pool in re.findall(r"(?:--pool|work-pool create) (\S+)", line):
            assert pool == "reelvec", line
        for word in re.findall(r"(?:^|/| )reelvec ([a-z]+)", line):
            assert word in words, line


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_parameters_in_the_documents_validate(path):
    """What follows --param, --params and --set, read as the flow and the loader read it."""
    from reelvec.configs import load

    for line in documents.commands(path.read_text()):
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
            (name,) = re.findall(r"deployment run (\w+/[\w-]+)", line)
            check_parameters(DEPLOYMENTS[name], given)


def check_parameters(row, given):
    """A deployment with these parameters has a run that can be described."""
    fields = row.flow.validate_parameters({**row.parameters, **given})
    if row.flow.name == "pipeline":
        RunForm(**fields).config()
    if row.flow.name == "stage":
        StageForm(**fields)


def test_deployments_in_the_documents_validate():
    shown = [
        deployment
        for path in DOCS
        for language, text in documents.fenced(path.read_text())
        if language == "yaml"
        for deployment in yaml.safe_load(text).get("deployments", [])
    ]
    assert shown
    for deployment in shown:
        flow = imported(deployment["entrypoint"])
        assert flow.validate_parameters(deployment["parameters"])


def test_the_documents_list_each_forms_fields():
    rows = [
        line for line in (ROOT / "docs" / "deploy.md").read_text().splitlines() if line[:1] == "|"
    ]
    for name, row in DEPLOYMENTS.items():
        (line,) = [line for line in rows if f"`{name}`" in line]
        listed = re.findall(r"`(\w+)`", line.split("|")[2])
        assert listed == list(row.flow.parameters.properties), name
