"""docs/deploy.md and docs/scheduling.md as a reader has them: a server, a worker, each line.

python -m tests.drills.documents [--folder FOLDER]

Every line is a process, in a folder with the reader's videos; the server has a free port, and the
demo is a small one. Prints a table; exit code 1 where a line failed.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.support.documents import by_hand, commands, write_files
from tests.support.forms import SMALL_DEMO, own_videos
from tests.support.prefect_server import free_port
from tests.support.programs import ROOT, Watched

PAGES = [ROOT / "docs" / name for name in ("deploy.md", "scheduling.md")]
PATIENCE = 1800
TALKS = "prefect deployment run pipeline/talks"
_EXPORT = ("reelvec", "weights", "export", "--format", "safetensors", "--store", "reelvec-store")
NEW_WEIGHTS = (*_EXPORT, "new.safetensors")
"""The reader's other weights: those of `talks`, so that the gate lets them pass."""
STAY = ("prefect server start", "prefect worker start")


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--folder", type=Path)
    folder = words.parse_args().folder or Path(tempfile.mkdtemp(prefix="reelvec-reader-"))
    rows = play(folder.absolute())
    for line, result, seconds in rows:
        sys.stdout.write(f"| `{line}` | {result} | {seconds:.1f} |\n")
    return 0 if all(result in ("0", "up") for _, result, _ in rows) else 1


def play(folder):
    """(line, exit code, seconds) of each line; what stays is ended at the end."""
    folder.mkdir(exist_ok=True)
    for name in ("videos", "talks"):
        own_videos(folder, name=name)
    texts = [by_hand(page) for page in PAGES]
    for text in texts:
        write_files(text, folder)
    port, watched, rows = free_port(), Watched(), []
    more = {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    more |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    more |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    environment = watched.environment(folder, **more)
    with contextlib.ExitStack() as stack, (folder / "log.txt").open("w") as log:
        stack.callback(watched.kill)
        for line in [line for text in texts for line in commands(text)]:
            if line.startswith(("source ", "export ")):
                continue
            started = time.monotonic()
            child = subprocess.Popen(
                ["bash", "-c", line], cwd=folder, env=environment, stdout=log, stderr=log
            )
            if line.startswith(STAY):
                stack.callback(child.terminate)
                result = "up" if line.startswith(STAY[1]) or healthy(port, child) else "down"
            else:
                result = str(child.wait(PATIENCE))
            rows.append((line, result, time.monotonic() - started))
            if line.startswith("reelvec deploy"):
                make_small(environment["PREFECT_API_URL"])
            if line.startswith(TALKS):
                subprocess.run(NEW_WEIGHTS, cwd=folder, env=environment, stdout=log, check=True)
    return rows


def healthy(port, child):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=60).is_success:
                return True
        time.sleep(0.5)
    return False


def make_small(url):
    """The demo's parameters, so that its run takes seconds."""
    found = httpx.get(f"{url}/deployments/name/pipeline/demo", timeout=PATIENCE).json()
    changed = {"parameters": found["parameters"] | SMALL_DEMO}
    httpx.patch(f"{url}/deployments/{found['id']}", json=changed, timeout=PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
