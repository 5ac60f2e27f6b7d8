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
import json
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
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import psutil

from reelvec.flows import cli
from reelvec.flows.commands import app
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from tests.drills.bitflips import COMPARED, config_of, draw, run_again
from tests.support.faults import PRELOAD, Faults, compiler, in_environment, library
from tests.support.programs import run_watched

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
ROOM = "256m"
SIZES = ("24k", "128k", "256k", "1m", "16m", "31m")
"""Of disks that a run of this size fills at different stages; a checkpoint takes 30 MB."""


def command(*words):
    """`reelvec` with these words, on the store it is given."""

    def do(config):
        sys.argv = ["reelvec", *words, "--store", config.store]
        cli.main()

    return do


def whole_run(config):
    """The pipeline without an engine, its errors said as the command line says them."""
    app.app = lambda **_: run_again(config)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
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
    if code == 1 and "reelvec: " not in words:
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
    def store(self, work, *, mounted=""):
        """A config whose store is a fresh copy of the template, on a small disk where one is named.

        `mounted` are the options of a tmpfs.
        """
        place = self.folder / "hurt"
        place.mkdir()
        with mounting(place, mounted) if mounted else nullcontext():
            shutil.copytree(self.templates[work], place / "store")
            yield self.config.model_copy(update={"store": str(place / "store")})
        shutil.rmtree(place)

    def counts(self, work):
        """How many calls of each kind an undisturbed work makes."""
        told = self.folder / "count"

        def do(config):
            self.faults.count(config.store)
            try:
                WORKS[work](config)
            finally:
                told.write_text(json.dumps({call: self.faults.seen(call) for call in ERRORS}))

        with self.store(work) as config:
            self.must(partial(do, config))
            self.wanted[work] = result(config.store)
        return json.loads(told.read_text())

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

    def on_a_disk(self, work, *, before, after):
        """The same on a real disk, which is remounted with `before` and then with `after`."""
        with self.store(work, mounted=after) as config:
            remount(Path(config.store).parent, before)
            code, words, clean = in_child(partial(WORKS[work], config), log=self.log)
            ended = verdict(work, code, words) if clean else f"left a process behind: {words}"
            remount(Path(config.store).parent, after)
            return ended, self.again(work, config)

    def as_command_line(self, call, *, number, error):
        """A whole `reelvec run` as a program of its own, with Prefect; then once more."""
        file = self.folder / "run.yaml"
        file.write_text(json.dumps(self.config.model_dump(mode="json", exclude={"store"})))
        run = [sys.executable, "-m", "reelvec.flows.cli", "run", str(file), "--store"]
        ends = []
        with self.store("run") as config:
            told = in_environment(
                os.environ[PRELOAD], call, config.store, number=number, error=error
            )
            for more in (told, {}):
                done, seen = run_watched([*run, config.store], cwd=self.folder, timeout=900, **more)
                left = seen.left_running()
                seen.kill()
                ended = verdict("run", done.returncode, done.stderr)
                ends.append(f"left running {left}: {ended}" if left else ended)
            found, damage = result(config.store)
            wanted, _ = self.wanted["run"]
            same = all(found[kind] == wanted[kind] for kind in COMPARED) and not damage
        return ends[0], same and ends[1] == "done"

    def is_as_before(self, work, config):
        return result(config.store) == self.wanted[work]

    def again(self, work, config):
        code, words, _ = in_child(partial(WORKS[work], config), log=self.log)
        if code:
            print(f"the next {work} ended with {code}: {words[-400:]}", file=sys.stderr)
        return not code and self.is_as_before(work, config)


class Table:
    """What was tried by (work, what failed); what was wrong is told on stderr at once."""

    def __init__(self):
        self.rows = {}

    def counted(self, work, how, calls):
        self.rows.setdefault((work, how), Counter()).update(calls=calls)

    def tried(self, work, how, outcome, *, what):
        ended, same = outcome
        fine = ended in ("done", "words") and same
        row = self.rows.setdefault((work, how), Counter())
        marks = {"words": ended == "words", "done": ended == "done", "same": same}
        row.update(failed=1, wrong=int(not fine), **{k: int(v) for k, v in marks.items()})
        if not fine:
            words = f"{work}, {how}, {what}: {ended}; equal afterwards: {same}"
            print(words, file=sys.stderr, flush=True)

    def show(self):
        print(
            "| work | what fails | calls | failed | ended in words | went on | equal afterwards |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        total = sum(self.rows.values(), Counter())
        tried = {of: row for of, row in self.rows.items() if row["failed"]}
        for (work, how), row in {**tried, ("all", ""): total}.items():
            shown = [row[name] for name in ("calls", "failed", "words", "done", "same")]
            print(f"| {work} | {how} | {' | '.join(map(str, shown))} |")
        print(f"{total['failed']} failures, {total['wrong']} wrong")
        return not total["wrong"]


def sweep(found, table, *, each, works, rng):
    """Chosen calls of every kind in every work."""
    for work in works:
        counts = found.counts(work)
        print(f"{work}: {counts}", file=sys.stderr, flush=True)
        for call, errors in ERRORS.items():
            calls = counts[call]
            table.counted(work, call, calls)
            for number in sorted(rng.sample(range(1, calls + 1), min(each, calls))):
                error = rng.choice(errors)
                outcome = found.hurt(work, call, number=number, error=error)
                table.tried(work, call, outcome, what=f"{number} {errno.errorcode[error]}")


def real_disks(found, table, *, works):
    """Disks of several sizes that a run fills, and a store that is mounted read-only."""
    for size in SIZES if "run" in works else ():
        outcome = found.on_a_disk("run", before=f"size={size}", after=f"size={ROOM}")
        table.tried("run", "a full disk", outcome, what=size)
    for work in works:
        outcome = found.on_a_disk(work, before=f"ro,size={ROOM}", after=f"rw,size={ROOM}")
        table.tried(work, "a read-only store", outcome, what="")


def command_lines(found, table, *, count, rng):
    """Whole programs, with Prefect: a chosen call of each kind that writes, by turns."""
    for turn in range(count):
        call = ("fsync", "link", "write", "mkdir", "open")[turn % 5]
        number = rng.randint(1, table.rows["run", call]["calls"])
        error = rng.choice(ERRORS[call])
        outcome = found.as_command_line(call, number=number, error=error)
        what = f"{call} {number} {errno.errorcode[error]}"
        table.tried("reelvec run", "one of those", outcome, what=what)


def may_mount(folder):
    """Whether this user may mount a tmpfs."""
    place = folder / "try"
    place.mkdir()
    try:
        with mounting(place, "size=1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def mounting(place, options):
    """A tmpfs at `place` while the block runs."""
    command = ["mount", "-t", "tmpfs", "-o", options, "reelvec-drill", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=12, help="calls of a kind and work that fail")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=list(WORKS))
    parser.add_argument("--command-lines", type=int, default=5, help="whole `reelvec run`s")
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
        found, table, rng = Sweep(Path(name), faults), Table(), random.Random(options.seed)
        sweep(found, table, each=options.each, works=options.works, rng=rng)
        if may_mount(Path(name)):
            real_disks(found, table, works=options.works)
        if "run" in options.works:
            command_lines(found, table, count=options.command_lines, rng=rng)
    sys.exit(0 if table.show() else 1)


if __name__ == "__main__":
    main()
