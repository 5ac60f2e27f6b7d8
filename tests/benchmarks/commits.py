"""The same commits by our protocol, by Lance and by delta-rs, in one run.

    python -m tests.benchmarks.commits [--commits 1000] [--s3 50] [--rows 64] [--of ours Lance]

A table of keys and vectors is appended to, commit by commit; then one process that knows nothing
appends once more, one reads all rows, one replaces one row in a hundred, and two append at once.
Each step is a process of its own: CPU seconds of all its threads, imports left out, and what the
place holds afterwards; on S3 (moto on loopback, behind a proxy that counts) the requests. Ours
waits until the disk has what it committed, and refuses a key that is there already; the others'
appends do neither. Rivals: `pip install pylance deltalake`; one that is not there is said so.
"""

import argparse
import importlib
import itertools
import math
import multiprocessing
import os
import queue as queues
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.benchmarks._installed import missing
from tests.support.s3_proxy import Trouble, s3_proxy
from tests.support.s3_server import BUCKET, environment, make_bucket, s3_server

NUMBERS = 128
WRITERS, APPENDS_EACH = 2, 10
PAGE = 1000  # names a listing of S3 gives at once
PRELOADED = [
    "pyarrow.parquet", "pyarrow.dataset", "reelvec.storage.roots", "reelvec.storage.tables",
    "reelvec.storage.commits.artifact", "tests.support.s3_server", "tests.support.s3_proxy",
]  # fmt: skip
"""Without threads of their own, so that processes may be forked from it."""


def batch(number, *, rows, seed=0):
    """The rows of one commit: their keys follow from its number."""
    return of_keys([f"{number:08d}-{row:023d}" for row in range(rows)], seed=number + seed)


def of_keys(keys, *, seed):
    draw = np.random.default_rng(seed)
    values = pa.array(draw.standard_normal(len(keys) * NUMBERS, dtype=np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(values, NUMBERS)
    return pa.table({"key": keys, "vector": vectors})


class Ours:
    """Parts, receipts and snapshots, as a stage writes them."""

    name, package = "ours", "reelvec"

    def __init__(self, where, options):
        from reelvec.storage.commits.artifact import Artifact
        from reelvec.storage.roots import open_root

        del options  # the environment says it
        self._root = open_root(where)
        self._root.begin_writing()
        identity = {"of": "a benchmark"}
        self._artifact = Artifact.open(self._root, kind="embeddings", identity=identity)

    def append(self, table):
        self._artifact.publish(add=[self._part(table)])

    def replace(self, table):
        keys = table["key"].to_pylist()
        self._artifact.publish(add=[self._part(table)], supersede={"rows": keys})

    def read(self):
        from reelvec.storage.tables import read_table

        return read_table(self._artifact.latest(), "rows").num_rows

    def _part(self, table):
        from reelvec.storage.records import Outcome
        from reelvec.storage.tables import schema_text, write_table

        outcomes, shard = list(map(Outcome, table["key"].to_pylist())), os.urandom(8).hex()
        with self._artifact.new_part(table="rows", shard=shard, suffix=".parquet") as part:
            write_table(part.path, table, metadata={})
            schema = schema_text(table.schema)
            return part.commit(rows=len(outcomes), schema=schema, outcomes=outcomes)


class Lance:
    name, package = "Lance", "lance"

    def __init__(self, where, options):
        self._where, self._options, self._dataset = f"{where}/table.lance", options, None

    def append(self, table):
        import lance

        target = self._dataset or self._where
        self._dataset = lance.write_dataset(
            table, target, mode="append", storage_options=self._options
        )

    def replace(self, table):
        self._open().merge_insert("key").when_matched_update_all().execute(table)

    def read(self):
        return self._open().to_table().num_rows

    def _open(self):
        import lance

        return lance.dataset(self._where, storage_options=self._options)


class Delta:
    name, package = "delta-rs", "deltalake"

    def __init__(self, where, options):
        self._where, self._options = f"{where}/table", options

    def append(self, table):
        from deltalake import write_deltalake

        write_deltalake(self._where, table, mode="append", storage_options=self._options)

    def replace(self, table):
        merger = self._open().merge(
            table, predicate="t.key = s.key", source_alias="s", target_alias="t"
        )
        merger.when_matched_update_all().execute()

    def read(self):
        return self._open().to_pyarrow_table().num_rows

    def _open(self):
        from deltalake import DeltaTable

        return DeltaTable(self._where, storage_options=self._options)


SYSTEMS = (Ours, Lance, Delta)


def appended(system, *, first, commits, rows):
    """CPU seconds of the first and of the last tenth of so many appends."""
    spent = []
    for number in range(first, first + commits):
        table, started = batch(number, rows=rows), time.process_time()
        system.append(table)
        spent.append(time.process_time() - started)
    tenth = max(1, commits // 10)
    return f"{1e3 * sum(spent[:tenth]) / tenth:.1f} to {1e3 * sum(spent[-tenth:]) / tenth:.1f} ms"


def read(system):
    return f"{system.read():,} rows"


def replaced(system, *, commits, rows):
    """One row in a hundred, of commits all over the table."""
    every = [f"{n:08d}-{row:023d}" for n in range(commits) for row in range(rows)][::100]
    system.replace(of_keys(every, seed=-1 % 2**32))
    return f"{len(every):,} rows"


def _child(kind, where, options, step, arguments, queue):
    os.environ |= options.pop("environment", {})
    importlib.import_module(kind.package)
    _warm(kind)
    started = time.process_time(), time.perf_counter()
    try:
        said = step(kind(where, options), **arguments)
    except Exception as error:
        said = f"refused: {type(error).__name__}: {str(error)[:80]}"
    queue.put((time.process_time() - started[0], time.perf_counter() - started[1], said))


def _warm(kind):
    """Imports, thread pools and codecs of a process that has committed before."""
    with tempfile.TemporaryDirectory() as folder:
        system = kind(folder, {})
        system.append(batch(0, rows=4))
        system.read()


def begun(kind, place, step, **arguments):
    """The process of a step, begun, and where its answer comes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    queue = context.Queue()
    parts = kind, place.where(kind), place.options, step, arguments, queue
    process = context.Process(target=_child, args=parts)
    process.start()
    return process, queue


def ended(process, queue):
    """What the process answered; one that has died answers nothing."""
    while True:
        alive = process.is_alive()
        try:
            found = queue.get(timeout=1)
        except queues.Empty:
            if alive:
                continue
            return math.nan, math.nan, f"its process ended with {process.exitcode}"
        process.join()
        return found


class Folder:
    """A place on this machine's disk."""

    title, options = "folder", {}

    def __init__(self, folder):
        self._folder = Path(folder)

    def where(self, kind):
        place = self._folder / kind.package
        place.mkdir(exist_ok=True)
        return str(place)

    def held(self, kind):
        sizes = [
            path.stat().st_size for path in Path(self.where(kind)).rglob("*") if path.is_file()
        ]
        return f"{len(sizes):,} | {sum(sizes) / 1e6:.1f} | |"


class Bucket:
    """A bucket behind a proxy that counts requests."""

    title = "S3"

    def __init__(self, url):
        self._requests = itertools.count()
        self._counted = 0
        self.proxy = s3_proxy(url, Trouble(self._count, "counted"))

    def behind(self, address):
        named = environment(address)
        self.options = {
            "aws_endpoint": address, "aws_endpoint_url": address, "allow_http": "true",
            "aws_allow_http": "true", "aws_region": "us-east-1", "region": "us-east-1",
            "aws_access_key_id": "testing", "aws_secret_access_key": "testing",
            "environment": named,
        }  # fmt: skip

    def _count(self, method, path):
        del method, path
        self._counted = next(self._requests) + 1
        return False

    def where(self, kind):
        return f"s3://{BUCKET}/{kind.package}"

    def held(self, kind):
        del kind
        counted, self._requests = self._counted, itertools.count()
        self._counted = 0
        return f" | | {counted:,} |"


@contextmanager
def places(*, commits, on_s3):
    """Where commits are made, and how many; no server is started for none."""
    with ExitStack() as held:
        found = []
        if commits:
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="reelvec-commits-"))
            found.append((Folder(folder), commits))
        if on_s3:
            url = held.enter_context(s3_server(page=PAGE))
            make_bucket(url)
            bucket = Bucket(url)
            bucket.behind(held.enter_context(bucket.proxy))
            found.append((bucket, on_s3))
        yield found


def measure(kind, place, *, commits, rows):
    """Prints the lines of one system at one place; whether all rows were there in the end."""

    def line(step, cpu, clock, said):
        print(
            f"| {place.title} | {step} | {kind.name} | {cpu:.2f} | {clock:.1f} | {said} |"
            f" {place.held(kind)}",
            flush=True,
        )

    def one(title, step, **arguments):
        line(title, *ended(*begun(kind, place, step, **arguments)))

    one(f"{commits:,} appends", appended, first=0, commits=commits, rows=rows)
    one("one more, a new process", appended, first=commits, commits=1, rows=rows)
    one("all rows read", read)
    one("one row in 100 replaced", replaced, commits=commits, rows=rows)
    one("all rows read", read)
    starts = [commits + 1 + APPENDS_EACH * n for n in range(WRITERS)]
    both = [
        begun(kind, place, appended, first=first, commits=APPENDS_EACH, rows=rows)
        for first in starts
    ]
    found = [ended(*one) for one in both]
    said = "; ".join(dict.fromkeys(answer for *_, answer in found))
    title = f"{WRITERS} writers, {APPENDS_EACH} appends each"
    line(title, sum(cpu for cpu, *_ in found), max(clock for _, clock, _ in found), said)
    expected = (commits + 1 + WRITERS * APPENDS_EACH) * rows
    one(f"all {expected:,} rows read", read)


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=1000, help="in a folder; 0: none")
    parser.add_argument("--s3", type=int, default=50, help="commits on S3; 0: none")
    parser.add_argument("--rows", type=int, default=64, help="a commit")
    names = [kind.name for kind in SYSTEMS]
    parser.add_argument("--of", nargs="+", choices=names, default=names)
    options = parser.parse_args(arguments)
    print("| place | step | of | CPU s | clock s | what | files | MB | requests |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with places(commits=options.commits, on_s3=options.s3) as found:
        for place, commits in found:
            for kind in (kind for kind in SYSTEMS if kind.name in options.of):
                if reason := missing(kind.package):
                    print(f"| {place.title} | nothing: {reason} | {kind.name} | | | | | | |")
                    continue
                measure(kind, place, commits=commits, rows=options.rows)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
