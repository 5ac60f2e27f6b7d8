"""An operator's site: PostgreSQL, a Prefect server, a worker and the deployments, as processes.

All of it is on free ports of loopback and in one folder, and each part may be killed and started
again. What a person does is done by the command line, what a person sees is asked of the API.
"""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from reelvec.flows.commands.app import app
from tests.support.prefect_server import free_port
from tests.support.programs import Watched, end

PATIENCE = 900.0
"""Seconds for what takes ten: the machine may be busy."""
_FILES = "prefect.server.concurrency.lease_storage.filesystem"
LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _FILES}
"""As docs/deploy.md starts a server: what it knows of a run's slot is there after its restart."""
AT_WORK = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")


def postgres_programs():
    """Folder of Debian's newest PostgreSQL server, or None."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    folders = sorted((path.parent for path in found), key=lambda path: float(path.parent.name))
    return folders[-1] if folders else None


def until(found, what, *, seconds=PATIENCE, every=0.25):
    """What `found` gives as soon as it gives something.

    Raises:
        TimeoutError: nothing after so many seconds.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


class Postgres:
    """A cluster of its own. The server refuses to run as root: then Debian's user runs it."""

    def __init__(self, folder, programs):
        self.programs, self.data, self.log = programs, folder / "postgres", folder / "postgres.log"
        self.port = free_port()
        self.data.mkdir()
        if os.getuid() == 0:
            shutil.chown(self.data, "postgres", "postgres")
        self._do("initdb", "--auth", "trust", "--username", "prefect", "--no-sync")
        self.start()
        self._do("createdb", "--username", "prefect", "prefect", of_data=False)

    @property
    def url(self):
        return f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/prefect"

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k ''"
        self._do("pg_ctl", "start", "--wait", "--timeout", "300", "--options", options)

    def stop(self, mode="fast"):
        self._do("pg_ctl", "stop", "--wait", "--timeout", "300", "--mode", mode)

    def _do(self, program, *words, of_data=True):
        where = (
            ["--pgdata", str(self.data)] if of_data else ["-h", "127.0.0.1", "-p", f"{self.port}"]
        )
        command = [str(self.programs / program), *where, *words]
        if os.getuid() == 0:
            command = ["runuser", "--user", "postgres", "--", *command]
        with self.log.open("a") as log:
            subprocess.run(command, check=True, cwd="/", stdout=log, stderr=log, timeout=PATIENCE)


@dataclass
class Site:
    """What an operator has. `folder` is the worker's."""

    folder: Path
    database: str = ""
    """URL of the server's database; "": SQLite in the folder."""
    more: dict[str, str] = field(default_factory=dict)
    """Of the environment of all that is started."""

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)
        self.watched = Watched()
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.server = self.worker = None
        self.log = (self.folder / "log.txt").open("a")

    @property
    def environment(self):
        more = {"PREFECT_API_URL": f"{self.address}/api", "PREFECT_WORKER_QUERY_SECONDS": "2"}
        more |= {"PATH": f"{Path(os.sys.executable).parent}:/usr/bin:/bin", "DO_NOT_TRACK": "1"}
        more |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | LEASES
        for wait in ("TIMEOUT", "CONNECTION_TIMEOUT"):  # a busy machine is not what is tried
            more[f"PREFECT_SERVER_DATABASE_{wait}"] = str(PATIENCE)
        more |= self.more
        if self.database:
            more["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self.database
        return self.watched.environment(self.folder, **more)

    def start(self, line):
        """A line of a terminal that stays."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.environment,
            stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip

    def say(self, line, *, expect=0):
        """A line of a terminal to its end: what it printed.

        Given again where the server was too busy to answer a command within its ten seconds.
        """
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", line], cwd=self.folder, env=self.environment, check=False,
                capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
            said = done.stdout + done.stderr
            self.log.write(f"$ {line}\n{said}\n")
            self.log.flush()
            if "no Prefect server answers" not in said or time.monotonic() > end:
                break
        if done.returncode != expect:
            raise RuntimeError(f"({line}) ended with {done.returncode}: {said[-600:]}")
        return said

    def deploy(self, *words):
        """`reelvec deploy WORDS…` in this process, whose start costs more than what it does."""
        said = io.StringIO()
        url = {PREFECT_API_URL: f"{self.address}/api"}
        with temporary_settings(url), contextlib.redirect_stdout(said):
            app(["deploy", *words], standalone_mode=False)
        return said.getvalue()

    def start_server(self):
        self.server = self.start(f"prefect server start --port {self.port}")
        until(self._healthy, "the server answers")

    def start_worker(self):
        self.worker = self.start("prefect worker start --pool reelvec --limit 2")

    def end(self):
        """Worker, then server, as a person ends them; then whatever is left."""
        for child in (self.worker, self.server):
            if child is not None:
                end(child)
        self.watched.kill()
        self.log.close()

    def _healthy(self):
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/api/health", timeout=30).is_success
        return False

    def ask(self, path, *, method=None, **json):
        """What the API answers; asked again while it does not."""
        method = method or ("POST" if json else "GET")

        def answer():
            with contextlib.suppress(httpx.TransportError):
                found = httpx.request(
                    method, f"{self.address}/api{path}", json=json or None, timeout=60
                )
                if found.status_code < 500:
                    found.raise_for_status()
                    return (found.json() if found.content else None,)
            return None

        return until(answer, path)[0]

    def deployment(self, name):
        return self.ask(f"/deployments/name/{name}")

    def runs(self, name, *, states=()):
        """Runs of a deployment, the newest first."""
        chosen = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}}
        if states:
            chosen["flow_runs"] = {"state": {"type": {"any_": list(states)}}}
        found = self.ask("/flow_runs/filter", limit=200, **chosen)
        return sorted(found, key=lambda run: run["created"], reverse=True)

    def begin(self, name, **parameters):
        """A run of a deployment, as the UI asks for one: its identifier."""
        path = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        return self.ask(path, parameters=parameters, state={"type": "SCHEDULED"})["id"]

    def run(self, identifier):
        return self.ask(f"/flow_runs/{identifier}")

    def ended(self, identifier, *, seconds=PATIENCE):
        """The run, once its state is a last one."""

        def over():
            found = self.run(identifier)
            return found if found["state_type"] not in AT_WORK else None

        return until(over, f"the run {identifier} ends", seconds=seconds)

    def at_work(self, identifier):
        """Waits until the run does something."""

        def works():
            found = self.run(identifier)
            if found["state_type"] not in (*AT_WORK, None):
                raise RuntimeError(f"ended before it was disturbed: {state_of(found)}")
            return found if found["state_type"] == "RUNNING" else None

        return until(works, f"the run {identifier} works")

    def words(self, identifier):
        """What the log of a run says."""
        chosen = {"flow_run_id": {"any_": [identifier]}}
        found = self.ask("/logs/filter", logs=chosen, sort="TIMESTAMP_ASC", limit=200)
        return "\n".join(line["message"] for line in found)

    def children(self, pid):
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).children(recursive=True)
        return []


def state_of(run):
    """State and message of a run, on one line."""
    message = (run["state"] or {}).get("message") or ""
    return f"{run['state_name']}: {' '.join(message.split())[:160]}".removesuffix(": ")


def draw_videos(folder, *, videos):
    """Short clips in `folder`/videos: their paths, by name."""
    from reelvec.configs.schema import SyntheticCorpus
    from reelvec.storage.corpora import open_corpus

    source = SyntheticCorpus(videos=videos, seconds=1.0, fps=8, size=64, codecs=("h264-mp4",))
    listing = open_corpus(source, store_dir=folder / "drawn").read()
    place = folder / "videos"
    place.mkdir(parents=True, exist_ok=True)
    found = {}
    for number, video in enumerate(listing.videos):
        name = f"clip{number:02}"
        found[name] = Path(shutil.move(video.path, place / f"{name}.mp4"))
    shutil.rmtree(folder / "drawn")
    return found


def list_captions(place, captions):
    """Writes `place`/captions.csv of {name: caption}."""
    with (place / "captions.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("video_id", "path", "caption"))
        lines.writerows((name, f"{name}.mp4", text) for name, text in captions.items())
