"""Stores on object servers: the contract, kills in the middle, gc and verify, on each that is here.

    python -m tests.drills.object_stores

moto's server, and Ceph's gateway where `../shared/tools/s3-real-server` and its packages are here,
over http and https. For each: the tests of the contract, and over http those of videos in a bucket;
what `doctor` says of a plain bucket, of a versioned one and with a key that may only read, which
must be what the first write meets, and leave nothing behind; and a small pipeline killed in extract
and embed (SIGKILL), run again, with the checksums of a folder, `gc` and `verify`. Prints tables;
exits 1 where anything differs.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support import s3_server

SERVERS = ("moto", "moto-https", "ceph", "ceph-https")
COMPARED = ("corpus", "frames", "checkpoint", "embeddings")
KILLED = ("frames", "embeddings")
TIMEOUT = 300.0


def config_of(store, videos):
    from reelvec.configs import PipelineConfig

    corpus = {"kind": "folder", "videos": videos, "captions": f"{videos}/captions.csv"}
    values = {
        "store": store,
        "corpus": corpus,
        "extract": {"size": 64, "shard_videos": 4, "sampling": {"rate": 2.0}},
        "model": {"max_frames": 2, "options": {"sim_header": "meanP"}},
        "train": {"epochs": 1, "batch_size": 6, "threads": 1},
        "embed": {"shard_rows": 4},
    }
    return PipelineConfig.model_validate(values)


def draw(videos):
    """Sixteen drawn clips with captions."""
    import csv

    from reelvec.configs.schema import SyntheticCorpus
    from reelvec.storage.corpora import open_corpus

    drawn = SyntheticCorpus(videos=16, seconds=1.0, fps=4, size=64)
    listing = open_corpus(drawn, store_dir=videos.parent / "drawn").read()
    videos.mkdir()
    names = {v.video_id: Path(shutil.copy(v.path, videos)).name for v in listing.videos}
    with (videos / "captions.csv").open("w", newline="") as file:
        rows = [(c.video_id, names[c.video_id], c.text) for c in listing.captions]
        csv.writer(file).writerows([("video_id", "path", "caption"), *rows])


def run_stages(store, videos):
    """The stages, in this process: `--run` of this script."""
    from tests.support.engine_free import run_all

    run_all(config_of(store, videos))


def parts(store, kind):
    """How many parts an artifact of this kind has."""
    from reelvec.storage.roots import open_root

    root = open_root(store)
    return sum(len(root.list(f"{kind}/{name}/parts")) for name in root.list(kind))


def start(store, videos):
    command = [sys.executable, "-m", "tests.drills.object_stores", "--run", store, str(videos)]
    return subprocess.Popen(command, start_new_session=True)


def kill_when(kind, store, videos):
    """SIGKILL to the whole session as soon as the first part of `kind` is there."""
    process = start(store, videos)
    end = time.monotonic() + TIMEOUT
    while parts(store, kind) == 0:
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"{store}: no part of {kind} came")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def pipeline(store, videos, wanted):
    """What became of a store whose runs were killed: a row's cells."""
    from reelvec.storage.roots import open_root
    from reelvec.storage.upkeep.garbage import GcOptions, gc
    from reelvec.storage.upkeep.verify import verify_store
    from reelvec.tasks.runs.status import describe_store

    for kind in KILLED:
        kill_when(kind, store, videos)
    if start(store, videos).wait(TIMEOUT):
        return [len(KILLED), "failed", "", ""]
    removed = gc(open_root(store), options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    damages = verify_store(open_root(store))
    found = {a.kind: a.checksum for a in describe_store(store)}
    equal = all(found[kind] == wanted[kind] for kind in COMPARED)
    gone = sum(len(collected.files) for collected in removed)
    return [len(KILLED), "equal" if equal else "DIFFERENT", gone, len(damages)]


def contract(name, folder):
    """Tests of the contract that passed on this server, and of how many."""
    here = Path(__file__).parents[1]
    tests = [str(here / "storage/places/test_object_root.py")]
    tests += [str(here / "tasks/corpus/test_videos_in_a_bucket.py")]
    words = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder}", "-k", f"{name}]"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests, *words],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1].split(" in ")[0].split(",")[0]


def left_behind(bucket):
    """Objects, versions, markers and uploads of a bucket."""
    client = s3_server.client()
    versions = client.list_object_versions(Bucket=bucket)
    uploads = client.list_multipart_uploads(Bucket=bucket)
    found = versions.get("Versions", []), versions.get("DeleteMarkers", [])
    return sum(map(len, found)) + len(uploads.get("Uploads", []))


def first_write(store):
    """What the first write meets: "" where it is taken."""
    from reelvec.storage.errors import StoreError
    from reelvec.storage.roots import open_root

    try:
        open_root(store).put_new("first", b"")
    except StoreError as error:
        return str(error)
    return ""


def examined(bucket, what):
    """Doctor's row of a bucket beside the first write into it: a row's cells."""
    from reelvec.flows.doctor import examine_store

    row = examine_store(f"s3://{bucket}/store")
    left = left_behind(bucket)
    refused = first_write(f"s3://{bucket}/store")
    agree = (row["result"] == "bad") == bool(refused)
    reason = ""
    for word in ("is versioned", "AccessDenied", "large files go in one put"):
        if word in row["remedy"]:
            reason = word
    return [what, row["result"], reason, "refused" if refused else "taken", left], agree


def doctored(name, folder):
    """Rows of `examined` for three buckets of this server, and whether all agree."""
    client = s3_server.client()
    rows, right = [], True
    for bucket in ("plain", "versioned", "reading"):
        client.create_bucket(Bucket=bucket)
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration=enabled)
    for bucket in ("plain", "versioned"):
        row, agree = examined(bucket, f"{bucket} bucket")
        rows.append([name, *row])
        right &= agree and row[-1] == 0
    if name.startswith("ceph"):
        owner = dict(os.environ)
        reader = s3_server.read_only_key(folder)
        os.environ.update(reader)
        row, agree = examined("reading", "key that may only read")
        os.environ.update(owner)
        rows.append([name, *row])
        right &= agree and row[-1] == 0 and row[1] == "bad"
    return rows, right


def table(head, rows):
    print("\n| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")


def run(names, folder):
    """All of it; False where anything differs."""
    from reelvec.tasks.runs.status import describe_store

    videos = folder / "videos"
    draw(videos)
    run_stages(str(folder / "local"), str(videos))
    wanted = {a.kind: a.checksum for a in describe_store(str(folder / "local"))}
    runs, looks, right = [], [], True
    for name in names:
        passed = contract(name, folder / f"tests-{name}")
        place = folder / name
        place.mkdir()
        with ExitStack() as stack:
            os.environ.update(stack.enter_context(s3_server.any_server(name, place)))
            rows, agree = doctored(name, place)
            looks += rows
            cells = pipeline(f"s3://{s3_server.BUCKET}/drill", str(videos), wanted)
        os.environ.pop("AWS_CA_BUNDLE", None)
        runs.append([name, passed, *cells])
        right &= agree and "failed" not in passed and cells[1] == "equal" and cells[-1] == 0
        print(runs[-1], flush=True)
    table(["server", "contract", "kills", "checksums", "removed by gc", "damaged"], runs)
    table(["server", "tried with", "doctor", "reason", "first write", "left behind"], looks)
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    parser.add_argument("--run", nargs=2, metavar=("STORE", "VIDEOS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_stages(*options.run)
        return
    missing = s3_server.real_server_missing()
    names = [name for name in options.servers if not (missing and name.startswith("ceph"))]
    if missing:
        print(f"without a real server: {missing}")
    folder = Path(tempfile.mkdtemp(prefix="reelvec-object-stores-"))
    os.environ["REELVEC_CACHE"] = str(folder / "cache")
    try:
        right = run(names, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
