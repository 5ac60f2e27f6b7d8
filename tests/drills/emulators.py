"""Videos at gs:// and az://, each from an emulator on loopback: whole runs, beside a folder's.

    pip install gcsfs adlfs gcp-storage-emulator    # --target FOLDER, with FOLDER on PYTHONPATH
    npm install azurite                             # --azurite …/node_modules/.bin/azurite-blob
    python -m tests.drills.emulators

Ingest, extract and embed (no training) of drawn clips and their captions, which lie in a bucket;
the same again; after one was changed, one removed and one added; and from a bucket that is not
there. Frames and vectors must be those of the same files in a folder. Prints a table; exits 1 where
anything differs. An emulator that is not installed is said, and is no failure. Not a part of CI.
"""

import argparse
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import reelvec
from tests.drills.ground import CONFIG, DrillError, Row, must, table
from tests.drills.kill import draw

BUCKET, MISSING = "reelvec-test", "nobodys-bucket"
COMPARED = ("frames", "videos", "captions")
STAGES = ("ingest", "extract", "embed")
AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlm"
    "EtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)
"""The account and key that Azurite's documentation gives to everybody."""
NOTHING = b"\x00\x00\x00\x08free"
"""A box of an MP4 without meaning, which makes another file of it."""
TIMEOUT = 900.0


@dataclass(frozen=True)
class Emulator:
    """A way to serve objects of a scheme here."""

    scheme: str
    command: Callable[[int], list[str]]
    environment: Callable[[int], dict[str, str]]
    needs: tuple[str, ...]
    program: str = ""

    @property
    def missing(self) -> list[str]:
        """What is not installed."""
        found = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return found + ([] if shutil.which(self.program or sys.executable) else [self.program])


def emulators(azurite):
    google = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1"]
    azure = [azurite, "--blobHost", "127.0.0.1", "--inMemoryPersistence", "--skipApiVersionCheck"]
    return [
        Emulator(
            "gs",
            lambda port: [*google, "--port", str(port), "--in-memory"],
            lambda port: {
                "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
                "FSSPEC_GS_TOKEN": "anon",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it asks by gRPC what a bucket is
            },
            needs=("gcsfs", "gcp_storage_emulator"),
        ),
        Emulator(
            "az",
            lambda port: [*azure, "--blobPort", str(port)],
            lambda port: {"AZURE_STORAGE_CONNECTION_STRING": AZURITE.format(port=port)},
            needs=("adlfs",),
            program=azurite,
        ),
    ]


@contextmanager
def served(emulator, folder):
    """Started; yields what its clients need to know."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / f"{emulator.scheme}.log").open("w") as log:
        process = subprocess.Popen(emulator.command(port), stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + TIMEOUT
        while not answers(port):
            must(process.poll() is None and time.monotonic() < until, "the emulator did not start")
            time.sleep(0.2)
        yield emulator.environment(port)
    finally:
        process.kill()
        process.wait()


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class Ground:
    """The clips in a folder, the same in a bucket, and runs over either."""

    def __init__(self, folder, scheme, environment):
        self.folder, self.scheme = folder, scheme
        self.clips = folder / "videos"
        self.environment = os.environ | environment
        self.environment |= {
            "REELVEC_CACHE": str(folder / f"cache-{scheme}"),
            "OMP_NUM_THREADS": "1",
        }
        os.environ.update(environment)
        import fsspec

        self.files = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
        self.files.mkdir(BUCKET)
        for file in self.clips.iterdir():
            self.put(file)

    def put(self, file):
        self.files.pipe_file(f"{BUCKET}/videos/{file.name}", file.read_bytes())

    def run(self, videos, store):
        """`reelvec run` over what lies there."""
        corpus = f"{{kind: folder, videos: {videos}, captions: {videos}/captions.csv}}"
        words = ["run", str(CONFIG), "--store", str(store), "--json", "--set", f"corpus={corpus}"]
        words += ["--set", "train.epochs=0", "--set", "extract.shard_videos=4"]
        return subprocess.run(
            [sys.executable, "-m", "reelvec.flows.cli", *words], env=self.environment,
            check=False, capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip

    def tables(self, videos, store):
        """Rows that a run came to, and what its stages did."""
        done = self.run(videos, store)
        must(done.returncode == 0, f"exit {done.returncode}: {done.stderr[-800:]}")
        found = {kind: rows(store, kind) for kind in COMPARED}
        stages = {stage["stage"]: stage["done"] for stage in json.loads(done.stdout)["stages"]}
        new = {name: stages.get(name, {}).get("new", 0) for name in STAGES}
        told = (f"{name} {count}" for name, count in new.items())
        return found, "new: " + ", ".join(told)

    @property
    def there(self):
        return f"{self.scheme}://{BUCKET}/videos"

    def compared(self, name):
        """The run from the bucket, beside one in a folder with the same files."""
        found, told = self.tables(self.there, self.folder / f"store-{self.scheme}")
        wanted, _ = self.tables(self.clips, self.folder / f"beside-{self.scheme}-{name}")
        other = [kind for kind, rows in wanted.items() if found[kind] != rows]
        must(not other, f"differs from a folder: {', '.join(other)}")
        return told


def rows(store, kind):
    """By id, whatever the parts: where a clip was read from is all that may differ."""
    run = reelvec.open(str(store)).run()
    if kind == "frames":
        clips = run.videos.arrow(["video_id"])["video_id"].to_pylist()
        return {clip: run.frames(clip).frames.tobytes() for clip in clips}
    found = run.table(kind).arrow()
    found = found.drop_columns([name for name in found.column_names if name == "path"])
    return found.sort_by(found.column_names[0]).to_pylist()


def whole(ground):
    return ground.compared("whole")


def again(ground):
    _, told = ground.tables(ground.there, ground.folder / f"store-{ground.scheme}")
    must(set(told.split()[2::2]) <= {"0,", "0"}, f"work was done: {told}")
    return told


def changed(ground):
    """The clips of the first three change places: one is other bytes, one gone, one new."""
    first, second, third = sorted(ground.clips.glob("*.mp4"))[:3]
    first.write_bytes(second.read_bytes() + NOTHING)
    ground.put(first)
    second.unlink()
    ground.files.rm_file(f"{BUCKET}/videos/{second.name}")
    added = third.with_name("added.mp4")
    added.write_bytes(third.read_bytes() + NOTHING)
    ground.put(added)
    return ground.compared("changed")


def nowhere(ground):
    done = ground.run(f"{ground.scheme}://{MISSING}/videos", ground.folder / "nothing")
    must(done.returncode == 2, f"exit {done.returncode}: {done.stderr[-800:]}")
    must("Traceback" not in done.stderr, done.stderr[-800:])
    return "exit 2: " + " ".join(done.stderr.split())[-160:]


DRILLS = {
    "a whole run": whole,
    "the same again": again,
    "one changed, one removed, one added": changed,
    "a bucket that is not there": nowhere,
}


def rows_of(emulator):
    folder = Path(tempfile.mkdtemp(prefix="reelvec-emulators-"))
    try:
        draw(folder, config=CONFIG)
        with served(emulator, folder) as environment:
            ground = Ground(folder, emulator.scheme, environment)
            for name, drill in DRILLS.items():
                row = Row(f"{emulator.scheme}: {name}")
                try:
                    row.seen = drill(ground)
                except (DrillError, subprocess.TimeoutExpired) as error:
                    row.wrong = " ".join(str(error).split())
                print(f"{row.name}: {row.wrong or row.seen}", file=sys.stderr, flush=True)
                yield row
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("gs", "az"))
    parser.add_argument("--azurite", default="azurite-blob", help="its program")
    options = parser.parse_args()
    rows = []
    for emulator in emulators(options.azurite):
        if options.only in (None, emulator.scheme):
            if emulator.missing:
                print(f"{emulator.scheme}: not installed: {', '.join(emulator.missing)}\n")
            else:
                rows += rows_of(emulator)
    sys.exit(0 if table(rows) else 1)


if __name__ == "__main__":
    main()
