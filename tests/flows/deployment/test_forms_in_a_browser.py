"""Each deployment's form in Chromium: submitted untouched, and with one field changed.

As docs/deploy.md says it: server, pool, deployments, worker, the form.
"""

import contextlib
import socket
import subprocess
import time

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from reelvec.flows.deployment.bootstrap import bootstrap_server
from reelvec.flows.deployment.deploy import Place, deploy
from reelvec.storage.roots import open_root
from reelvec.storage.runs import latest_run
from tests.support.chromium import IN_CHROMIUM, chromium
from tests.support.forms import SMALL_DEMO, deployments, own_videos
from tests.support.programs import Watched, end, python

PATIENCE = 600  # seconds for what takes ten: the machine may be busy

pytestmark = [
    pytest.mark.flow,
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    IN_CHROMIUM,
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The worker's folder: videos, of which one is broken."""
    folder = tmp_path_factory.mktemp("worker")
    own_videos(folder)
    return folder


@pytest.fixture(scope="module")
def url(place):
    """A server with the deployments and a worker, started as docs/deploy.md says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, watched = f"http://127.0.0.1:{port}", Watched()
    server = {
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_DATABASE_TIMEOUT": str(PATIENCE),  # SQLite, on a busy machine
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": str(PATIENCE),
    }
    with contextlib.ExitStack() as stack, (place / "log.txt").open("w") as log:
        stack.callback(watched.kill)

        def start(*words):
            child = subprocess.Popen(
                python("-m", "prefect", *words), cwd=place, stdout=log, stderr=log,
                env=watched.environment(place, **server),
            )  # fmt: skip
            stack.callback(end, child)

        start("server", "start", "--host", "127.0.0.1", "--port", str(port))
        until = time.monotonic() + PATIENCE
        while not _healthy(address):
            assert time.monotonic() < until, (place / "log.txt").read_text()
            time.sleep(0.5)
        with temporary_settings({PREFECT_API_URL: server["PREFECT_API_URL"]}):
            list(bootstrap_server(pool="reelvec"))
            rows = list(deployments(demo=SMALL_DEMO).values())
            list(deploy(rows, place=Place(pool="reelvec")))
        start("worker", "start", "--pool", "reelvec", "--limit", "2")
        yield address


def _healthy(address):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/api/health", timeout=60).is_success
    return False


@pytest.fixture(scope="module")
def page():
    """A page of a browser without a window; phones are 390 pixels wide."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(PATIENCE * 1000)
        yield page


@pytest.fixture
def submit(url, page, place):
    """A function that opens a form, changes it, presses Submit, and waits for the run's end."""

    def submit(deployment, change=lambda form: None):
        found = read(f"{url}/api/deployments/name/{deployment}")
        page.goto(f"{url}/v2/deployments/deployment/{found['id']}/run")
        field(page, "store").wait_for()
        change(page)
        answer = press(page)
        while answer.status == 503:  # SQLite is locked: the page says so, and is still there
            time.sleep(1)
            answer = press(page)
        assert answer.status == 201, answer.text()
        run = answer.json()["id"]
        until = time.monotonic() + PATIENCE
        while (state := read(f"{url}/api/flow_runs/{run}")["state"])["type"] in (
            "SCHEDULED",
            "PENDING",
            "RUNNING",
        ):
            assert time.monotonic() < until, (place / "log.txt").read_text()
            time.sleep(0.3)
        assert state["type"] == "COMPLETED", f"{state}\n{(place / 'log.txt').read_text()}"
        return run

    return submit


def press(page):
    """What the server answers to Submit; by the keyboard, as a notice may cover the button."""
    with page.expect_response(lambda answer: "create_flow_run" in answer.url) as posted:
        page.get_by_role("button", name="Submit").press("Enter")
    return posted.value


def read(address, **wanted):
    """What the API says; it is asked again while SQLite is locked."""
    while True:
        with contextlib.suppress(httpx.TimeoutException):
            answer = httpx.request("POST" if wanted else "GET", address, timeout=60, **wanted)
            if answer.is_success:
                return answer.json()
            assert answer.status_code == 503, answer.text
        time.sleep(1)


def field(page, name):
    """The label, words and inputs of one field."""
    return page.locator(f"xpath=//label[starts-with(., '{name} (')]/ancestor::*[fieldset][1]")


def record(place, store="reelvec-store"):
    return latest_run(open_root(str(place / store)))


def failures(place):
    import reelvec

    return [row.video_id for row in reelvec.open(str(place / "reelvec-store")).run().failures()]


def test_folder(submit, place):
    submit("pipeline/folder")
    untouched = record(place)
    assert untouched.config["preset"] == "folder" and untouched.config["train"]["epochs"] == 20
    assert untouched.config["corpus"]["videos"] == str(place / "videos")
    assert failures(place) == ["broken"]

    def one_epoch(page):
        field(page, "epochs").get_by_role("tab", name="int").click()
        field(page, "epochs").get_by_role("spinbutton").fill("1")

    submit("pipeline/folder", one_epoch)
    changed = record(place)
    assert changed.config["train"] == untouched.config["train"] | {"epochs": 1}
    assert changed.config["corpus"] == untouched.config["corpus"]


def test_failures(submit, place):
    submit("retry/failures")
    assert failures(place) == ["broken"]
    whole = (place / "videos" / "clip1.mp4").read_bytes()
    (place / "videos" / "broken.mp4").write_bytes(whole + b" ")  # other bytes: no copy of clip1

    def only_it(page):
        field(page, "videos").get_by_role("button", name="Add item").click()
        field(page, "videos").get_by_role("textbox").fill("broken")

    submit("retry/failures", only_it)
    assert failures(place) == []


def test_nightly(submit, url, place):
    before = record(place)
    submit("reembed/nightly")
    assert record(place) == before
    (place / "videos" / "clip3.mp4").unlink()

    def only_say_it(page):
        field(page, "dry_run").get_by_role("switch").click()

    run = submit("reembed/nightly", only_say_it)
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["plan-folder"]}}}
    (plan,) = read(f"{url}/api/artifacts/filter", json=wanted)
    assert "clip3 | gone" in plan["data"]
    assert record(place) == before


def test_demo(submit, place):
    submit("pipeline/demo")
    untouched = record(place)
    assert untouched.config["preset"] == "demo" and untouched.config["corpus"]["videos"] == 4
    submit("pipeline/demo", lambda page: field(page, "store").get_by_role("textbox").fill("second"))
    assert record(place) == untouched
    assert record(place, "second").config == untouched.config | {"store": "second"}
