"""A year of operation in an hour: what befalls server, worker and runs, and the next night.

    python -m tests.drills.operating                # all
    python -m tests.drills.operating --only worker API  # those whose name holds a word

A PostgreSQL and a Prefect server of the script's own, on loopback; `reelvec bootstrap`, `reelvec
deploy` and a process worker as docs/deploy.md says; a store over a dozen drawn videos. After each
row a night is run: it must complete, `verify` be clean, and the rows be those of a store that was
never disturbed. Needs Debian's package postgresql (else: says so, and uses SQLite where --sqlite is
given); rows with the UI need Chromium and playwright, and are left out with words without them.
Prints a table; exits 1 where a row is wrong.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import reelvec
from reelvec.flows.alone import run_alone
from reelvec.flows.refresh import RefreshOptions, chosen_runs, refresh
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from tests.drills.ground import DrillError, Row, must, table
from tests.drills.site import (
    Postgres,
    Site,
    draw_videos,
    list_captions,
    postgres_programs,
    state_of,
    until,
)
from tests.support.chromium import MISSING, chromium

NIGHT, RUN = "reembed/nightly", "pipeline/folder"
STORE, TWIN = "reelvec-store", "undisturbed"


class Year:
    """A site with one run, its twin that nothing befalls, and videos that come, change and go."""

    def __init__(self, folder, *, sqlite=False):
        folder.chmod(0o755)  # Debian's user reads its part of it
        self.postgres = None if sqlite else Postgres(folder, postgres_programs())
        self.site = Site(folder / "site", database=self.postgres.url if self.postgres else "")
        self.store = self.site.folder / STORE
        self.twin = self.site.folder / TWIN
        drawn = draw_videos(self.site.folder, videos=16)
        self.spare = [(name, folder / f"{name}.mp4") for name in list(drawn)[12:]]
        for name, place in self.spare:
            shutil.move(drawn[name], place)
        self.captions = {name: f"a clip called {name}" for name in drawn}
        self.list_videos()

    def begin(self):
        site = self.site
        site.start_server()
        site.say("reelvec bootstrap && reelvec deploy")
        site.start_worker()
        ran = site.ended(site.begin(RUN, epochs=1))
        must(ran["state_type"] == "COMPLETED", f"the first run: {state_of(ran)}")
        shutil.copytree(self.store, self.twin)

    def end(self):
        self.site.end()
        if self.postgres:
            self.postgres.stop()

    # --- the videos ------------------------------------------------------------------------------

    @property
    def videos(self):
        return sorted(self.site.folder.glob("videos/*.mp4"))

    def list_videos(self):
        names = [path.stem for path in self.videos]
        list_captions(self.site.folder / "videos", {name: self.captions[name] for name in names})

    def change(self, count=1):
        """Other bytes, the same frames: read, decoded and embedded again."""
        for path in self.videos[:count]:
            path.write_bytes(path.read_bytes() + b" ")

    def come(self, count):
        for _ in range(count):
            name, kept = self.spare.pop()
            shutil.move(kept, self.site.folder / "videos" / f"{name}.mp4")
        self.list_videos()

    def go(self):
        self.videos[-1].unlink()
        self.list_videos()

    # --- what must hold --------------------------------------------------------------------------

    def night(self, **parameters):
        """A run of the nightly from the UI or command line to its end."""
        return self.site.ended(self.site.begin(NIGHT, **parameters))

    def sound(self):
        """The next night completes, verify is clean, the table is the undisturbed one's."""
        ran = self.night()
        must(ran["state_type"] == "COMPLETED", f"the next night: {state_of(ran)}")
        damaged = [found.path for found in verify_store(open_root(str(self.store)))]
        must(not damaged, f"verify: {', '.join(damaged)}")
        keep_true(str(self.twin))
        for what in ("videos", "captions"):
            here, there = (rows(store, what) for store in (self.store, self.twin))
            must(here == there, f"{what}: not the rows of a store that nothing befell")
        names = [row["video_id"] for row in rows(self.store, "videos")]
        must(names == [path.stem for path in self.videos], f"rows of {names}")

    def attempt(self, drill):
        row, started = Row(drill.name), time.monotonic()
        try:
            row.seen = f"{drill.do(self)}; {time.monotonic() - started:.0f} s"
            self.sound()
        except (DrillError, TimeoutError, RuntimeError, subprocess.SubprocessError) as error:
            row.wrong = " ".join(str(error).split())
        return row

    @contextlib.contextmanager
    def page(self):
        """A page of a browser without a window."""
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(600_000)
            yield page


def keep_true(store):
    """The nightly of a store, in this process and without a server."""

    def do(session, stages):
        return run_alone(session, only=stages)

    for due in chosen_runs(store):
        done = refresh(due, options=RefreshOptions(), run=do, say=lambda _: None)
        must(not done.error, f"the undisturbed store: {done.error}")


def rows(store, what):
    """Rows of a table, by id, whatever parts they lie in."""
    found = reelvec.open(str(store)).run().table(what).arrow()
    return found.sort_by(found.column_names[0]).to_pylist()


def files_of(store):
    return {str(path.relative_to(store)): path.stat().st_size for path in store.rglob("*.*")}


@dataclass(frozen=True)
class Drill:
    """A row: what befalls, and what does it; it returns what was seen."""

    name: str
    do: Callable[[Year], str]
    by_browser: bool = False
    by_postgres: bool = False


# --- schedules ------------------------------------------------------------------------------------


def fired(year):
    """The run that the schedule starts, to its end; the time is given as a person gives it."""
    site = year.site
    before = {run["id"] for run in site.runs(NIGHT)}
    due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=3)
    site.deploy("--cron", f"{due.minute} {due.hour} * * *")

    def found():
        new = [run for run in site.runs(NIGHT) if run["id"] not in before]
        due_now = [run for run in new if run["expected_start_time"][:16] == f"{due:%Y-%m-%dT%H:%M}"]
        return due_now[0] if due_now else None

    run = until(found, "the schedule makes a run")
    must(run["auto_scheduled"], "somebody else made the run")
    ran = site.ended(run["id"])
    must(ran["state_type"] == "COMPLETED", state_of(ran))
    return ran


def a_schedule_fires(year):
    year.go()
    year.change(1)
    year.come(3)
    ran = fired(year)
    said = year.site.words(ran["id"])
    for words in ("3 new videos", "1 changed videos", "1 removed videos"):
        must(words in said, f"nothing of ({words}) in its log: {said[-600:]}")
    return "3 new, 1 changed, 1 removed"


def a_second_firing(year):
    before = files_of(year.store)
    fired(year)
    must(files_of(year.store) == before, "files were written")
    return "completed, no file of the store written"


def cancel_new(year):
    site = year.site
    year.change(len(year.videos))
    first = site.begin(NIGHT)
    site.at_work(first)
    second = site.ended(site.begin(NIGHT))
    must(second["state_type"] == "CANCELLED", f"the second: {state_of(second)}")
    must(site.run(first)["state_type"] == "RUNNING", "the first was over before the second came")
    ran = site.ended(first)
    must(ran["state_type"] == "COMPLETED", f"the first: {state_of(ran)}")
    return "the second is cancelled while the first works, the first completes"


# --- what dies ------------------------------------------------------------------------------------


def begun(year):
    """A night that has much to do, as it begins."""
    year.change(len(year.videos))
    identifier = year.site.begin(NIGHT)
    year.site.at_work(identifier)
    return identifier


def disturbed(year):
    """The same, in the middle of its work."""
    identifier = begun(year)
    until(lambda: "changed videos" in year.site.words(identifier), "it says what it does")
    return identifier


def kill_worker(site, *, family):
    """SIGKILL to the worker, and to the runs it started: as a machine's end is."""
    dead = [site.worker, *(site.children(site.worker.pid) if family else [])]
    for process in dead:
        with contextlib.suppress(Exception):
            process.kill()
    site.worker.wait()


def worker_killed(year):
    site = year.site
    identifier = disturbed(year)
    kill_worker(site, family=False)
    started = time.monotonic()
    site.start_worker()
    ran = site.ended(identifier)
    # its log went to the worker's terminal: the next line finds nobody, and Prefect ends the run
    must(ran["state_type"] in {"COMPLETED", "CRASHED"}, f"the run: {state_of(ran)}")
    return f"its run is {ran['state_name']} {time.monotonic() - started:.0f} s later"


def worker_and_run_killed(year, *, beginning=False):
    site = year.site
    identifier = begun(year) if beginning else disturbed(year)
    kill_worker(site, family=True)
    started = time.monotonic()
    site.start_worker()
    ran = site.ended(identifier)
    must(ran["state_type"] == "CRASHED", f"the run: {state_of(ran)}")
    return f"the run is Crashed {time.monotonic() - started:.0f} s later"


def killed_as_it_begins(year):
    """Before the run has said once that it lives."""
    return worker_and_run_killed(year, beginning=True)


def server_killed(year):
    site = year.site
    identifier = disturbed(year)
    site.server.kill()
    site.server.wait()
    started = time.monotonic()
    site.start_server()
    back = time.monotonic() - started
    ran = site.ended(identifier)
    return f"back after {back:.0f} s; the run: {state_of(ran)}"


def database_stopped(year):
    site = year.site
    identifier = disturbed(year)
    year.postgres.stop("immediate")
    time.sleep(20)
    year.postgres.start()
    ran = site.ended(identifier)
    return f"the run: {state_of(ran)}"


# --- what a person does ---------------------------------------------------------------------------


def cancelled_by_api(year):
    site = year.site
    identifier = disturbed(year)
    wanted = {"type": "CANCELLING", "name": "Cancelling"}
    site.ask(f"/flow_runs/{identifier}/set_state", state=wanted)
    ran = site.ended(identifier)
    must(ran["state_type"] == "CANCELLED", state_of(ran))
    return "Cancelled"


def cancelled_in_the_ui(year):
    site = year.site
    with year.page() as page:
        page.goto(f"{site.address}/v2/runs")  # loaded while nothing is in a hurry
        identifier = disturbed(year)
        page.goto(f"{site.address}/v2/runs/flow-run/{identifier}")
        open_menu(page)
        page.get_by_role("menuitem", name="Cancel").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Cancel Flow Run").click()
        ran = site.ended(identifier)
    must(ran["state_type"] == "CANCELLED", state_of(ran))
    return "Cancelled"


def open_menu(page):
    """The three dots beside a run's name."""
    page.get_by_role("button", name="Open menu").first.click()


def retried_in_the_ui(year):
    site = year.site
    year.change(2)
    videos, hidden = site.folder / "videos", site.folder / "not mounted"
    videos.rename(hidden)
    failed = year.night()
    must(failed["state_type"] == "FAILED", f"without videos: {state_of(failed)}")
    hidden.rename(videos)
    with year.page() as page:
        page.goto(f"{site.address}/v2/runs/flow-run/{failed['id']}")
        open_menu(page)
        page.get_by_role("menuitem", name="Retry").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Retry").click()
        until(lambda: site.run(failed["id"])["state_type"] != "FAILED", "the retry begins")
        ran = site.ended(failed["id"])
    must(ran["state_type"] == "COMPLETED", f"the retry: {state_of(ran)}")
    return "Failed while the videos were gone; the same run completes when retried"


def edited_and_redeployed(year):
    site = year.site
    there = site.deployment(NIGHT)
    edited = {"parameters": there["parameters"] | {"runs": ["another"]}, "concurrency_limit": None}
    site.ask(f"/deployments/{there['id']}", method="PATCH", **edited)
    ran = year.night()
    must(ran["state_type"] == "FAILED", f"the edited one: {state_of(ran)}")
    said = site.deploy()
    must(f"changed {NIGHT}: " in said and "parameters" in said, f"deploy says {said}")
    return "the edited one fails; `deploy` names what it puts right"


DRILLS = (
    Drill("a schedule fires by itself", a_schedule_fires),
    Drill("a second firing", a_second_firing),
    Drill("a night comes due while one works (CANCEL_NEW)", cancel_new),
    Drill("the worker is killed", worker_killed),
    Drill("the worker and its run are killed", worker_and_run_killed),
    Drill("the worker and its run are killed as it begins", killed_as_it_begins),
    Drill("the server is killed and started again", server_killed),
    Drill("PostgreSQL is stopped for 20 s", database_stopped, by_postgres=True),
    Drill("a run is cancelled by the API", cancelled_by_api),
    Drill("a run is cancelled by the UI's button", cancelled_in_the_ui, by_browser=True),
    Drill("a failed run is retried from the UI", retried_in_the_ui, by_browser=True),
    Drill("a deployment is edited, and deployed again", edited_and_redeployed),
)


def run(drills, *, folder, sqlite=False):
    """The rows, told one by one on stderr."""
    found = []
    year = Year(folder, sqlite=sqlite)
    try:
        year.begin()
        for drill in drills:
            row = year.attempt(drill)
            print(f"{row.name}: {row.wrong or row.seen}", file=sys.stderr, flush=True)
            found.append(row)
    finally:
        year.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="words of drills' names")
    parser.add_argument("--sqlite", action="store_true", help="no PostgreSQL")
    options = parser.parse_args()
    if not options.sqlite and postgres_programs() is None:
        print("skipped: no PostgreSQL here (apt-get install postgresql), nor --sqlite given")
        return 0
    chosen = [drill for drill in DRILLS if any(words in drill.name for words in options.only)]
    for drill in [d for d in chosen if d.by_browser and MISSING]:
        print(f"left out, {MISSING}: {drill.name}", file=sys.stderr)
        chosen.remove(drill)
    chosen = [drill for drill in chosen if not (drill.by_postgres and options.sqlite)]
    with tempfile.TemporaryDirectory(prefix="reelvec-operating-") as folder:
        return 0 if table(run(chosen, folder=Path(folder), sqlite=options.sqlite)) else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
