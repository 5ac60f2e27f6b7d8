"""The n-th call of each kind fails, over a whole run and each command: words, and nothing lost.

    python -m tests.drills.faults --each 12

A library loaded before libc (tests/support/faults.c) makes one open, read, write, fsync, link,
unlink, mkdir, listing, stat or mmap in the store fail with an error number that such a call has.
Each work is first done undisturbed, which counts its calls and gives the checksums to be reached;
then once for each chosen call. It must end well, or with exit code 1 and words (4 from `verify`);
the work done again must end with those checksums, `verify` must find nothing, and no process may be
left. Then disks that are really full, and a store that is really read-only, where this user may
mount. Needs a C compiler. Prints a table; exits 1 where anything differs.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil

from reelvec.flows import cli
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from tests.drills.bitflips import config_of, draw, run_again
from tests.support.faults import PRELOAD, Faults, compiler, library

ERRORS = {
    "open": (errno.EMFILE, errno.EACCES, errno.EIO, errno.ESTALE, errno.EROFS),
    "read": (errno.EIO, errno.ESTALE),
    "write": (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.ESTALE),
    "fsync": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    "link": (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EXDEV),
    "unlink": (errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE),
    "mkdir": (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO),
    "list": (errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES),
    "stat": (errno.EIO, errno.ESTALE, errno.EACCES),
    "mmap": (errno.ENOMEM, errno.EACCES, errno.ENODEV),
}
PATIENCE = 20.0


def command(*words):
    """`reelvec` with these words, on the store it is given."""

    def do(config):
        sys.argv = ["reelvec", *words, "--store", config.store]
        cli.main()

    return do


def whole_run(config):
    """The pipeline without an engine, its errors said as the command line says them."""
    cli.app = lambda **_: run_again(config)
    cli.main()


WORKS = {
    "run": whole_run,
    "search": command("search", "a red square"),
    "status": command("status"),
    "failures": command("failures"),
    "verify": command("verify"),
    "gc": command("gc", "--keep", "1", "--hours", "0"),
    "compact": command("compact"),
}
READS = ("search", "status", "failures", "verify")


def in_child(work, *, log):
    """Runs `work` in a process of its own: (exit code, what it said, whether nothing was left)."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = 0
        try:
            work()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    _, status = os.waitpid(child, 0)
    clean = is_alone(child)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), clean


def is_alone(session):
    """Whether every process of a session has ended within some seconds."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not any(_session_of(process) == session for process in psutil.process_iter()):
            return True
        time.sleep(0.05)
    return False


def _session_of(process):
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.Error, ProcessLookupError, PermissionError):
        return None


def result(store):
    """What must be equal: every artifact's checksum, and a healthy store."""
    found = {a.kind: a.latest().checksum for a in Artifact.all(open_root(store))}
    return found, [damage.path for damage in verify_store(open_root(store))]


def verdict(work, code, words):
    """ "done", "words", or what is wrong with how it ended."""
    bad = "Traceback" in words or "internal error" in words or "Exception ignored" in words
    if bad or code not in (0, 1, *((4,) if work == "verify" else ())):
        return f"exit {code}: {words[-400:].strip()}"
    if code == 1 and not words.startswith("reelvec: "):
        return f"exit 1 without words: {words[-400:].strip()}"
    return "words" if code else "done"


class Sweep:
    """A template of a store for each work, and what is to be reached from it."""

    def __init__(self, folder, faults):
        self.folder = folder
        self.faults = faults
        self.log = folder / "log"
        videos, captions = draw(folder, videos=6)
        captions(videos[:4])
        self.config = config_of(folder, folder / "grown")
        self.must(partial(run_again, self.config))
        captions(videos)
        self.must(partial(run_again, self.config))
        (folder / "empty").mkdir()
        self.templates = {w: folder / ("empty" if w == "run" else "grown") for w in WORKS}
        self.wanted = {}

    def must(self, work):
        code, words, _ = in_child(work, log=self.log)
        if code:
            sys.exit(f"undisturbed work ended with {code}: {words}")

    @contextmanager
    def store(self, work):
        place = self.folder / "hurt"
        shutil.copytree(self.templates[work], place)
        try:
            yield self.config.model_copy(update={"store": str(place)})
        finally:
            shutil.rmtree(place)

    def count(self, work, call):
        """How many such calls an undisturbed work makes."""
        told = self.folder / "count"

        def do(config):
            self.faults.fail(call, config.store, number=0, error=0)
            try:
                WORKS[work](config)
            finally:
                told.write_text(str(self.faults.seen()))

        with self.store(work) as config:
            self.must(partial(do, config))
            self.wanted[work] = result(config.store)
        return int(told.read_text())

    def hurt(self, work, call, *, number, error, every=False):
        """(how the work ended, whether the next one ended as if nothing had been)."""

        def do(config):
            self.faults.fail(call, config.store, number=number, error=error, every=every)
            WORKS[work](config)

        with self.store(work) as config:
            code, words, clean = in_child(partial(do, config), log=self.log)
            ended = verdict(work, code, words)
            if not clean:
                ended = f"left a process behind: {ended}"
            if work in READS:
                return ended, self.is_as_before(work, config)
            return ended, self.again(work, config)

    def is_as_before(self, work, config):
        return result(config.store) == self.wanted[work]

    def again(self, work, config):
        code, words, _ = in_child(partial(WORKS[work], config), log=self.log)
        if code:
            print(f"the next {work} ended with {code}: {words[-400:]}", file=sys.stderr)
        return not code and self.is_as_before(work, config)


def sweep(found, *, each, works, seed):
    """{(work, call): Counter}; what is wrong is told on stderr."""
    rng = random.Random(seed)
    table = {}
    for work in works:
        for call, errors in ERRORS.items():
            calls = found.count(work, call)
            row = table[work, call] = Counter(calls=calls)
            for number in sorted(rng.sample(range(1, calls + 1), min(each, calls))):
                error = rng.choice(errors)
                ended, same = found.hurt(work, call, number=number, error=error)
                fine = ended in ("done", "words")
                row.update(failed=1, words=ended == "words", done=ended == "done", same=same)
                row.update(wrong=not (fine and same))
                if not (fine and same):
                    name = errno.errorcode[error]
                    words = f"{work}, {call} {number}, {name}: {ended}; next equal: {same}"
                    print(words, file=sys.stderr, flush=True)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=12, help="calls of a kind and work that fail")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=list(WORKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faults = Faults.of_this_process()
    with tempfile.TemporaryDirectory(prefix="reelvec-faults-") as name:
        if faults is None:
            if compiler() is None:
                sys.exit("a C compiler (cc or gcc) is needed")
            again = [sys.executable, "-m", "tests.drills.faults", *sys.argv[1:]]
            environment = os.environ | {PRELOAD: str(library(Path(name)))}
            sys.exit(subprocess.run(again, env=environment, check=False).returncode)
        found = Sweep(Path(name), faults)
        table = sweep(found, each=options.each, works=options.works, seed=options.seed)
    print(
        "| work | call | calls | made to fail | ended in words | went on | equal after the next |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (work, call), row in {**table, ("all", ""): sum(table.values(), Counter())}.items():
        shown = [row[name] for name in ("calls", "failed", "words", "done", "same")]
        print(f"| {work} | {call} | {' | '.join(map(str, shown))} |")
    wrong = sum(row["wrong"] for row in table.values())
    print(f"{sum(row['failed'] for row in table.values())} failures, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
