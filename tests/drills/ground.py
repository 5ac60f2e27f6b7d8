"""The ground of a drill: a small corpus, its undisturbed run, and stores that may be hurt.

A drill does something to a store and says what was seen; `attempt` then runs the pipeline once more
and asks what must hold whatever was done: the checksums of an undisturbed run, a clean `verify`, no
process left (and so no socket).
"""

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import reelvec
from reelvec.configs import load
from reelvec.storage.corpora import open_corpus
from tests.support.programs import Watched

CONFIG = Path(__file__).parents[1] / "resources" / "drill.yaml"
COMPARED = ("corpus", "frames", "checkpoint", "embeddings")
MERGED = ("frames", "embeddings")
"""Kinds of which `compact` merges the parts."""
ROWS = ("frames", "videos", "captions")
TIMEOUT = 600.0


class DrillError(Exception):
    """What was seen is not what must be."""


def must(holds, words):
    """Raise DrillError with the words unless it holds."""
    if not holds:
        raise DrillError(words)


@dataclass(frozen=True)
class Drill:
    """One row of the table.

    Attributes:
        name: what is done, in a few words.
        do: does it to a store that does not exist yet, on a Ground; returns what was seen, in a few
            words, or raises DrillError.
        short: whether CI does it too.
        merges: whether parts are merged meanwhile; then rows are compared, not parts' checksums.
    """

    name: str
    do: Callable[["Ground", Path], str]
    short: bool = False
    merges: bool = False


@dataclass
class Row:
    """How a drill ended; `wrong` is empty where all is as it must be."""

    name: str
    seen: str = ""
    wrong: str = ""


class Ground:
    """A corpus of short clips in `folder`/videos and the command that makes its tables.

    Attributes:
        folder: where everything of these drills lies.
        watched: knows each process that was started here, and all that these started.
        wanted: {(kind, fingerprint): checksum} of an undisturbed run.
    """

    def __init__(self, folder):
        self.folder = folder
        self.videos = folder / "videos"
        self.watched = Watched()
        _draw(folder)
        self.whole = folder / "whole"
        self.expect(self.run(self.whole), 0)
        self.wanted = self.checksums(self.whole)

    def words(self, store, *more, config=CONFIG):
        """The command line of the run, for Popen."""
        corpus = f"{{kind: folder, videos: {self.videos}, captions: {self.captions}}}"
        run = ["run", str(config), "--set", f"corpus={corpus}", "--store", str(store), "--json"]
        return self.command(*run, *more)

    @property
    def captions(self):
        return self.folder / "captions.csv"

    def command(self, *words):
        return [sys.executable, "-m", "reelvec.flows.cli", *words]

    def environment(self, **more):
        """Marked, so that what is left of it is found; with its own temporary folder."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return self.watched.environment(self.folder / "prefect", TMPDIR=str(temporary), **more)

    def do(self, *words, timeout=TIMEOUT, **environment):
        """`reelvec words…` to its end."""
        return self.to_its_end(self.command(*words), timeout, environment)

    def run(self, store, *more, timeout=TIMEOUT, **environment):
        """The run, to its end."""
        return self.to_its_end(self.words(store, *more), timeout, environment)

    def start(self, store, *more, **environment):
        """The run, in a session of its own as a shell's job is in a group of its own."""
        return subprocess.Popen(
            self.words(store, *more), env=self.environment(**environment), start_new_session=True,
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def expect(self, done, code, *words):
        """The exit code, and words on stderr; never a traceback, never an internal error."""
        said = f"{done.stderr[-800:]}"
        must(done.returncode == code, f"exit {done.returncode}, not {code}: {said}")
        must("Traceback" not in done.stderr, f"a traceback: {said}")
        must("internal error" not in done.stderr, f"an internal error: {said}")
        for word in words:
            must(word in done.stderr + done.stdout, f"nothing about ({word}): {said}")

    def status(self, store):
        done = self.do("status", "--store", str(store), "--json")
        self.expect(done, 0)
        return json.loads(done.stdout)

    def checksums(self, store):
        """{(kind, fingerprint): checksum of the latest snapshot}."""
        there = [a for a in self.status(store)["artifacts"] if a["kind"] in COMPARED]
        return {(a["kind"], a["fingerprint"]): a["checksum"] for a in there}

    def grown(self, store):
        """A copy of the undisturbed store."""
        shutil.copytree(self.whole, store)

    def attempt(self, drill):
        """Do it, then run, compare, verify and look for what is left."""
        row, store = Row(drill.name), self.folder / "hurt"
        try:
            row.seen = drill.do(self, store)
            self.nothing_left()
            self.heal(store, merged=drill.merges)
        except DrillError as error:
            row.wrong = " ".join(str(error).split())
        except subprocess.TimeoutExpired as error:
            row.wrong = f"hangs: {error}"
        finally:
            self.watched.kill()
            shutil.rmtree(store, ignore_errors=True)
        return row

    def heal(self, store, *, merged):
        """The next run ends with the checksums of an undisturbed one, and all is sound."""
        self.expect(self.run(store), 0)
        found = self.checksums(store)
        different = [key[0] for key, checksum in self.wanted.items() if found.get(key) != checksum]
        if merged:
            different = [kind for kind in different if kind not in MERGED]
            different += [
                what for what in ROWS if self.rows(store, what) != self.rows(self.whole, what)
            ]
        must(not different, f"differs from an undisturbed run: {', '.join(different)}")
        self.expect(self.do("verify", "--store", str(store)), 0)
        self.nothing_left()

    def rows(self, store, what):
        """Rows of a table, or the stored pixels, by id, whatever parts they lie in."""
        run = reelvec.open(str(store)).run()
        if what == "frames":
            clips = run.videos.arrow(["video_id"])["video_id"].to_pylist()
            return {clip: run.frames(clip).frames.tobytes() for clip in clips}
        found = run.table(what).arrow()
        return found.sort_by(found.column_names[0]).to_pylist()

    def nothing_left(self):
        """No process that was started here is alive, and no file of theirs is in the way."""
        alive = self.watched.left_running()
        must(not alive, f"left running: {'; '.join(alive)}")
        files = [path.name for path in (self.folder / "tmp").rglob("*") if not path.is_dir()]
        must(not files, f"left in the temporary folder: {', '.join(files)}")

    def to_its_end(self, command, timeout=TIMEOUT, environment=None):
        """Any command, to its end."""
        return subprocess.run(
            command, env=self.environment(**environment or {}), cwd=self.folder, check=False,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """A Ground in a temporary folder; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="reelvec-drills-"))
    try:
        yield Ground(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _draw(folder):
    """The videos of every run, drawn once, with their captions and splits."""
    listing = open_corpus(load(CONFIG).corpus, store_dir=folder / "drawn").read()
    (folder / "videos").mkdir()
    splits = {}
    for video in listing.videos:
        shutil.move(video.path, folder / "videos" / Path(video.path).name)
        splits[video.video_id] = video.split
    with (folder / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "caption", "split"])
        for caption in listing.captions:
            writer.writerow([caption.video_id, caption.text, splits[caption.video_id]])


def table(rows, out=print):
    """The rows as Markdown; whether all are right."""
    out("| drill | seen | after the next run |")
    out("| --- | --- | --- |")
    for row in rows:
        out(f"| {row.name} | {row.seen} | {row.wrong or 'equal, sound, nothing left'} |")
    wrong = sum(bool(row.wrong) for row in rows)
    out(f"\n{len(rows)} drills, {wrong} wrong; {os.cpu_count()} cores")
    return not wrong
