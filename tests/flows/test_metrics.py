"""What Prometheus is told: as the store has it, in its format, in a file replaced whole."""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prometheus_client.parser import text_string_to_metric_families

import reelvec
from reelvec.flows import metrics
from reelvec.flows.metrics import StoreCollector, metrics_text
from reelvec.flows.page.addresses import site
from tests.support.command_line import typed
from tests.support.prefect_server import free_port

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"


def read(text):
    """{metric: {labels, the run first: value}} as Prometheus reads it."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            labels = sorted(sample.labels, key=lambda name: (name != "run", name))
            values = tuple(sample.labels[name] for name in labels)
            found.setdefault(sample.name, {})[values] = sample.value
    return found


@pytest.fixture(scope="module")
def told(real_store):
    return read(metrics_text(StoreCollector(real_store.store)).decode())


def test_videos_are_counted_as_failures_does(told, real_store):
    counts = reelvec.open(real_store.store).run().ledger()
    assert told["reelvec_videos"] == {
        ("demo", "ok"): 8, ("demo", "salvaged"): 0, ("demo", "quarantined"): 2,
        ("demo", "pending"): 0,
    }  # fmt: skip
    assert sum(told["reelvec_videos"].values()) == len(counts)


def test_rows_bytes_and_age_are_those_in_force(told, real_store):
    run = reelvec.open(real_store.store).run()
    status = {(a.kind, a.fingerprint): a for a in reelvec.open(real_store.store).status()}
    kinds = {kind for _, kind in told["reelvec_snapshot_rows"]}
    assert kinds == {"corpus", "frames", "checkpoint", "embeddings", "evaluation"}
    for kind in kinds - {"checkpoint"}:
        artifact = status[kind, run.artifacts[kind].fingerprint]
        assert told["reelvec_snapshot_rows"]["demo", kind] == artifact.rows
        assert told["reelvec_snapshot_bytes"]["demo", kind] == artifact.bytes
        age = (
            datetime.now(UTC).timestamp() - told["reelvec_snapshot_timestamp_seconds"]["demo", kind]
        )
        assert 0 <= age < 6 * 3600
    assert told["reelvec_run_end_timestamp_seconds"]["demo",] == run.ended.timestamp()
    assert told["reelvec_run_readable"] == {("demo",): 1}


def test_seconds_are_those_of_the_last_run(told, real_store):
    from reelvec.storage.roots import open_root
    from reelvec.storage.runs import latest_run

    last = {
        stage["name"]: stage["seconds"] for stage in latest_run(open_root(real_store.store)).stages
    }
    seconds = {stage: value for (_, stage), value in told["reelvec_stage_seconds"].items()}
    assert last and last.items() <= seconds.items()


def test_without_a_server_nothing_is_said_of_one(real_store):
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        told = read(metrics_text(StoreCollector(real_store.store)).decode())
    assert not {name for name in told if "prefect" in name or "queue" in name}


def test_a_server_that_does_not_answer_is_down_and_the_store_is_told_of(real_store):
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        told = read(metrics_text(StoreCollector(real_store.store)).decode())
    assert told["reelvec_prefect_up"] == {(): 0} and "reelvec_queue_runs" not in told
    assert told["reelvec_run_readable"] == {("demo",): 1}


def test_a_ledger_is_counted_again_only_when_it_changed(real_store, monkeypatch):
    collector = StoreCollector(real_store.store)
    first = metrics_text(collector)
    monkeypatch.setattr(metrics, "counts", None)
    assert metrics_text(collector) == first


def test_a_run_that_lost_its_tables_is_told_of_and_hides_no_other(real_store, tmp_path):
    shutil.copytree(real_store.store, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "embeddings")
    told = read(metrics_text(StoreCollector(str(tmp_path / "store"))).decode())
    assert told["reelvec_run_readable"] == {("demo",): 0}
    assert "reelvec_videos" not in told and told["reelvec_stage_seconds"]


def test_the_page_has_them_behind_its_token(real_store):
    from starlette.testclient import TestClient

    token = "a-token-of-twenty-four-l"
    app = site(reelvec.open(real_store.store), host="0.0.0.0", token=token)
    visitor = TestClient(app, base_url="http://scraped:8765")
    assert visitor.get("/metrics").status_code == 401
    answer = visitor.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert read(answer.text)["reelvec_videos"]["demo", "ok"] == 8


def test_the_command_replaces_a_file_or_prints(real_store, tmp_path, monkeypatch, capsys):
    def call(*words):
        return typed(monkeypatch, capsys, "metrics", "--store", real_store.store, *words)

    code, out, err = call()
    assert (code, err) == (0, "") and read(out)["reelvec_videos"]
    file = tmp_path / "reelvec.prom"
    file.write_text("old")
    before = file.stat().st_ino
    code, printed, _ = call("--to", str(file))
    assert (code, printed) == (0, "") and read(file.read_text()) == read(out)
    assert file.stat().st_ino != before, "a reader never sees half of it"
    assert [one.name for one in tmp_path.iterdir()] == ["reelvec.prom"]
    for wrong, why in (("here.txt", "must end with .prom"), ("no/where.prom", "cannot be written")):
        code, out, err = call("--to", str(tmp_path / wrong))
        assert (code, out) == (2, "") and why in err


def test_the_dashboard_asks_for_metrics_there_are():
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\breelvec_\w+", target["expr"])
    }
    assert asked == set(metrics.METRICS)
    assert all(panel["title"] and panel["targets"] for panel in dashboard["panels"])
