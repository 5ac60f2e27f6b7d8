"""The pictures of Prefect's UI in docs/images, made anew from a site of their own.

    python -m tests.drills.screenshots [--to FOLDER]

A Prefect server and a worker on loopback, `reelvec bootstrap` and `deploy`, a dozen drawn videos of
which one is cut off, one run of `pipeline/folder`; then a page after the other in Chromium (needs
playwright and chromium). Prints what it wrote; look at each before you commit it.
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.drills.site import Site, draw_videos, list_captions, state_of
from tests.support.chromium import MISSING, chromium
from tests.support.programs import ROOT

VIEW = {"width": 1280, "height": 900}
SETTLE = 3_000
"""Milliseconds a page is given after its last request: its graph still moves."""


def make_run(site):
    """A run of `pipeline/folder`, ended: its record."""
    drawn = draw_videos(site.folder, videos=12)
    cut = list(drawn.values())[5]
    cut.write_bytes(cut.read_bytes()[:400])
    list_captions(site.folder / "videos", {name: f"a clip called {name}" for name in drawn})
    site.say("reelvec bootstrap --notify http://127.0.0.1:9/hook && reelvec deploy")
    site.start_worker()
    ran = site.ended(site.begin("pipeline/folder", epochs=2))
    print(f"the run: {state_of(ran)}", file=sys.stderr)
    return ran


def artifact_of(site, key):
    (found,) = site.ask("/artifacts/latest/filter", artifacts={"key": {"any_": [key]}})
    return found["latest_id"]


def pages(site, run):
    """Name and height of each picture, the page it shows, and the tab that is opened."""
    form = f"deployments/deployment/{site.deployment('reembed/nightly')['id']}/run"
    yield "prefect-deployments", 870, "deployments", ""
    yield "prefect-form", 900, form, ""
    yield "prefect-run", 900, f"runs/flow-run/{run['id']}", "Artifacts"
    yield "prefect-artifact", 600, f"artifacts/artifact/{artifact_of(site, 'cost-folder')}", ""
    yield "prefect-automations", 600, "automations", ""


def shoot(site, run, *, to):
    with chromium() as browser:
        page = browser.new_page(viewport=VIEW)
        page.set_default_timeout(300_000)
        for name, height, path, tab in pages(site, run):
            page.goto(f"{site.address}/v2/{path}")
            page.wait_for_load_state("networkidle")
            if tab:
                page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(SETTLE)
            whole = io.BytesIO(page.screenshot(clip={"x": 0, "y": 0, **VIEW, "height": height}))
            # a few colours: a third of the bytes, and nobody sees it
            picture = Image.open(whole).convert("RGB").quantize(64, dither=Image.Dither.NONE)
            picture.save(to / f"{name}.png", optimize=True)
            print(to / f"{name}.png", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if MISSING:
        print(MISSING)
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="reelvec-screenshots-"))
    site = Site(folder / "site")
    try:
        site.start_server()
        shoot(site, make_run(site), to=options.to)
    finally:
        site.end()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
