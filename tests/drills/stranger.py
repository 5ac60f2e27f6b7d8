"""A stranger with a clone and docs/deploy.md: two corpora, another model, and word of it.

    python -m tests.drills.stranger

A clone of this repository's last commit; each line is one that its docs/deploy.md shows, in the
order of the page, played in the clone with the packages that are here (`make setup` is CI's). The
stranger brings two folders of videos, weights and the address of a webhook. Prints a table; exits 1
where something was not as the page says.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.drills.site import Site, until
from tests.support.documents import by_hand, commands, write_files
from tests.support.forms import own_videos
from tests.support.migrating import save_weights
from tests.support.programs import ROOT
from tests.support.webhook import webhook

SHOWN = "https://hooks.slack.com/services/T000/B000/XXXX"
MIGRATION = "prefect deployment run migrate/store --watch --param run=talks --param weights="
WRONG = (
    RuntimeError, LookupError, TimeoutError, subprocess.SubprocessError, httpx.HTTPError,
)  # fmt: skip
"""What a line that is not as the page says ends in."""
POOR, GOOD = "poor.safetensors", "new.safetensors"


@dataclass
class Page:
    """docs/deploy.md of the clone, whose lines are played one after the other."""

    site: Site
    text: str
    rows: list[tuple[str, str]] = field(default_factory=list)

    def line(self, start):
        """The line of the page that is so, or else the first that starts so.

        Raises:
            LookupError: the page has no such line.
        """
        shown = [*commands(self.text), *map(str.strip, self.text.splitlines())]
        found = [start] if start in shown else [one for one in shown if one.startswith(start)]
        if not found:
            raise LookupError(f"docs/deploy.md shows no line ({start}…)")
        return found[0]

    def play(self, start, *, expect=0, instead=()):
        """A line to its end, with what the stranger puts in its place; what it printed."""
        line, started = self.line(start), time.monotonic()
        if instead:
            line = line.replace(*instead)
        said = self.site.say(line, expect=expect)
        self.note(f"`{line}`", f"exit {expect}, {time.monotonic() - started:.0f} s")
        return said

    def note(self, what, seen):
        """A row of the table, told at once on stderr."""
        self.rows.append((what, seen))
        print(f"{what}: {seen}", file=sys.stderr, flush=True)


def play(folder):
    """What was done and what came of it, line by line."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    text = by_hand(clone / "docs" / "deploy.md")
    write_files(text, clone)
    for name in ("videos", "talks"):
        own_videos(clone, videos=10, name=name)
    save_weights(clone / POOR, seed=9)
    # of this clone, not of the checkout that plays
    site = Site(clone, more={"PYTHONPATH": str(clone / ".editable")})
    page = Page(site, text)
    with webhook("/hook") as (address, texts):
        try:
            begin(page, address)
            two_nights(page)
            another_model(page, texts)
        finally:
            site.end()
    return page.rows


def begin(page, address):
    site = page.site
    page.line("prefect server start")
    site.start_server()
    where = site.say("python -c 'import reelvec; print(reelvec.__file__)'")
    if str(site.folder) not in where:
        raise RuntimeError(f"another checkout is played: {where}")
    page.play("reelvec bootstrap --notify https", instead=(SHOWN, address))
    page.play("reelvec deploy --corpora corpora")
    site.worker = site.start(page.line("prefect worker start"))


def two_nights(page):
    site = page.site
    for name in ("clips", "talks"):
        page.play(f"prefect deployment run pipeline/{name} --watch")
        (schedule,) = site.deployment(f"reembed/{name}")["schedules"]
        page.note(f"the nightly of {name}", f"at {schedule['schedule']['cron']} UTC")
    # another model that is as good: the last run's own, which the next night's is not
    site.say(f"reelvec weights export --format safetensors --store reelvec-store {GOOD}")
    (site.folder / "videos" / "clip3.mp4").unlink()
    page.play("prefect deployment run reembed/clips --watch")
    kept = tables(site, "clips")
    if "clip3" in kept or len(kept) != 9:
        raise RuntimeError(f"the nightly of clips left {kept}")
    page.note("a video of clips is gone", "and so is its row")


def another_model(page, texts):
    page.play(f"{MIGRATION}{GOOD} --param dry_run=true")
    if any("refused" in text for text in texts):
        raise RuntimeError(f"told of a refusal before there was any: {texts}")
    page.play(f"{MIGRATION}{GOOD}", expect=1, instead=(GOOD, POOR))
    refused = "Reelvec: new tables of talks poor were refused"
    wanted = (refused, f"Reelvec: migrate to {POOR} failed")
    until(lambda: all(any(w in t for t in texts) for w in wanted), "the webhook is told")
    told = [text.splitlines()[0] for text in texts]
    page.note("the webhook", "; ".join(told))
    searched(page, "talks")
    page.play(f"{MIGRATION}{GOOD}")
    searched(page, "talks new")
    page.play("reelvec history --limit 5")
    page.play("reelvec rollback --why")
    searched(page, "talks")


def searched(page, name):
    found = page.site.say("reelvec tags --json")
    if json.loads(found)["tags"][0]["record"]["name"] != name:
        raise RuntimeError(f"searched is not {name}: {found}")
    page.note("what is searched", name)


def tables(site, run):
    code = f"import reelvec; print(*reelvec.open('reelvec-store').run('{run}').videos.numpy()[0])"
    return site.say(f'env -u PREFECT_API_URL python -c "{code}"').split()


def main():
    folder = Path(tempfile.mkdtemp(prefix="reelvec-stranger-"))
    try:
        rows = play(folder)
    except WRONG as error:
        sys.stdout.write(f"wrong: {error}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("| what the stranger does | what comes of it |\n| --- | --- |\n")
    for what, seen in rows:
        sys.stdout.write(f"| {what} | {seen} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
