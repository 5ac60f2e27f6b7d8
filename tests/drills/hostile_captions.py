"""Hostile caption files and configurations: none hangs, fills memory or ends in an internal error.

    python -m tests.drills.hostile_captions

Writes more than 60 files, each a fault or a bomb of its own, asks `reelvec corpus check` about
each, and prints what came of it: exit code, seconds, and the most memory that the command and all
that it started held at once. Exits 1 where an exit code is not 0, 1 or 2, where a file takes longer
than two minutes, or more than 2 GiB. `--library` reads them all in one process instead, but for the
largest, and prints JSON: the short form of the tests.
"""

import argparse
import bz2
import gzip
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

SECONDS, MEBIBYTES = 120, 2048
"""Bounds of one file."""
ROW = "video_id,caption\n"
VIDEO = {"video_id": "0001", "caption": "x"}


@dataclass(frozen=True)
class Case:
    """A file called `name` and its bytes (or a function that makes it at a path)."""

    title: str
    name: str
    content: object
    large: bool = False

    def write(self, folder: Path) -> Path:
        """Put it in `folder`; the configuration to check."""
        path = folder / self.name
        if callable(self.content):
            self.content(path)
        else:
            raw = self.content if isinstance(self.content, bytes) else self.content.encode()
            path.write_bytes(raw)
        if path.suffix == ".yaml":
            return path
        corpus = {"kind": "folder", "videos": "videos", "captions": self.name}
        if path.suffix == ".pkl":
            corpus = {"kind": "msvd", "videos": "videos", "annotations": "."}
            for split in ("train", "val", "test"):
                (folder / f"{split}_list.txt").write_text(f"{split}1\n")
        (folder / "mine.yaml").write_text(json.dumps({"corpus": corpus}))
        return folder / "mine.yaml"


def lines(*values):
    return "\n".join(json.dumps({**VIDEO, **value}) for value in values)


def link(target):
    return lambda path: os.symlink(target, path)


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def many_rows(path):
    """Forty million rows in a few kilobytes."""
    group = pa.table({"video_id": ["0001"] * 1_000_000, "caption": ["x"] * 1_000_000})
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(40):
            writer.write_table(group, row_group_size=1_000_000)


def cut(write, keep):
    """A function that writes as `write` does, and keeps the first bytes."""

    def write_and_cut(path):
        write(path)
        os.truncate(path, keep)

    return write_and_cut


def gzipped(count, unit=b"\0" * 2**20, *, pack=gzip.open):
    """A function that writes `count` repetitions of `unit`, packed."""

    def write(path):
        with pack(path, "wb", compresslevel=1) as file:
            for _ in range(count):
                file.write(unit)

    return write


def zstandard(path):
    path.write_bytes(pa.compress(b" " * 300 * 2**20, "zstd", asbytes=True))


def keys_by_the_thousand(path):
    rows = ({**VIDEO, **{f"{row}-{key}": 0 for key in range(500)}} for row in range(100))
    path.write_text("\n".join(map(json.dumps, rows)))


def repeated(rows):
    """A function that writes a text of 100,000 characters in each of so many rows."""

    def write(path):
        text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 100_000])
        pq.write_table(pa.table({"video_id": ["0001"] * rows, "caption": text}), path)

    return write


def sparse(path):
    """A document of 3 GiB that takes no space."""
    with path.open("wb") as file:
        file.write(b"[")
        file.truncate(3 * 2**30)


def nested_tuples(levels=60):
    """A key whose hash takes 2 ** `levels` steps."""
    return b"\x80\x02}(" + b"(t" + b"q\x00h\x00\x86" * levels + b"]u."


CSV = [
    Case("quote never closed", "c.csv", ROW + '0001,"' + "x,y\n" * 300_000),
    Case("quotes alone", "c.csv", '"' * 100_001),
    Case("a line of 20 MiB", "c.csv", ROW + "0001," + "x" * 20 * 2**20),
    Case("zero bytes", "c.csv", ROW.encode() + b"\0" * 100_000),
    Case("a name with a zero byte", "c.csv", ROW + "00\x0001,x\n"),
    Case("not UTF-8", "c.csv", ROW.encode() + b"0001,caf\xe9\n"),
    Case("UTF-8 that ends early", "c.csv", ROW.encode() + b"0001,x\xe2\x82"),
    Case("UTF-16", "c.csv", (ROW + "0001,x\n").encode("utf-16")),
    Case("noise", "c.csv", bytes(range(256)) * 1000),
    Case("nothing", "c.csv", ""),
    Case("a header alone", "c.csv", ROW),
    Case("a hundred thousand columns", "c.csv", ",".join(map(str, range(100_000))) + "\n1\n"),
    Case("a column twice", "c.csv", "video_id,caption,caption\n0001,x,y\n"),
    Case("separators alone", "c.csv", "," * 500_000 + "\n"),
    Case("a quote as separator", "c.csv", 'sep="\n' + ROW + "0001,x\n"),
    Case("a line break as separator", "c.csv", "sep=\n\n" + ROW),
    Case("rows of other widths", "c.csv", ROW + "0001,x,y,z\n"),
    Case("no row that can be used", "c.csv", "video_id,caption,start\n" + "0001,x,-1\n" * 100_000),
    Case("times beyond all", "c.csv", "video_id,caption,end\n0001,x,1e999\n0001,x,1e-400\n"),
    Case("a pipe", "c.csv", os.mkfifo),
    Case("a link to itself", "c.csv", link("c.csv")),
    Case("an endless device", "c.csv", link("/dev/zero")),
    Case("a folder", "c.csv", os.mkdir),
    Case("a workbook", "c.csv", b"PK\x03\x04" + b"\0" * 1000),
    Case("an HTML page", "c.csv", "<html><body>log in</body></html>"),
]
LONG_ROWS = (ROW + "0001," + "x" * 1000 + "\n").encode() * 1000
PACKED = [
    Case("gzip of 2 GiB without a line", "c.csv.gz", gzipped(2048), large=True),
    Case("gzip of 400 MiB of rows", "c.csv.gz", gzipped(400, LONG_ROWS), large=True),
    Case("gzip of 300 MiB of zeros", "c.jsonl.gz", gzipped(300)),
    Case("gzip cut short", "c.csv.gz", gzip.compress(ROW.encode() * 1000)[:-9]),
    Case("gzip of gzip", "c.csv.gz", gzip.compress(gzip.compress(ROW.encode()))),
    Case("gzip with a wrong sum", "c.csv.gz", gzip.compress(ROW.encode())[:-8] + b"\0" * 8),
    Case("bzip2 of 300 MiB", "c.json.bz2", gzipped(300, pack=bz2.open), large=True),
    Case("zstandard of 300 MiB", "c.json.zst", zstandard),
    Case("zstandard of noise", "c.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(range(256))),
]
JSON = [
    Case("5,000 digits in a line", "c.jsonl", '{"video_id": ' + "9" * 5000 + "}"),
    Case("4,000 digits as an id", "c.jsonl", '{"video_id": ' + "9" * 4000 + ', "caption": "x"}'),
    Case("400 digits as a time", "c.jsonl", lines({"start": 10**400})),
    Case("nested in a line", "c.jsonl", '{"video_id": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    Case("nested as far as can be", "c.jsonl", '{"video_id": ' + "[" * 900 + "]" * 900 + "}"),
    Case("half surrogate pairs", "c.jsonl", lines({"video_id": "\ud800"}, {"path": "\udc80"})),
    Case("half pairs in splits", "c.jsonl", lines({"split": "\ud800"}, {"subset": "\udfff"})),
    Case("no numbers", "c.jsonl", lines({"start": float("nan")}, {"end": float("inf")})),
    Case("a line of 20 MiB in JSON", "c.jsonl", lines({"caption": "x" * 20 * 2**20})),
    Case("keys by the thousand", "c.jsonl", keys_by_the_thousand),
    Case("no objects", "c.jsonl", "1\n2\n"),
    Case("nested document", "c.json", "[" * 1_000_000),
    Case("nested objects", "c.json", '{"a":' * 100_000 + "1" + "}" * 100_000),
    Case("5,000 digits", "c.json", "[" + "9" * 5000 + "]"),
    Case("eleven million values", "c.json", "[" + "0," * 11_000_000 + "0]", large=True),
    Case("as many values as are read", "c.json", "[" + "[]," * 3_000_000 + "0]", large=True),
    Case("3 GiB of a document", "c.json", sparse),
    Case("a key twice", "c.json", '{"0001": "x", "0001": "y"}'),
    Case("cut document", "c.json", json.dumps([VIDEO] * 1000)[:-7]),
    Case("lists of lists", "c.json", json.dumps({"0001": [[["x"]]]})),
    Case("columns of other lengths", "c.json", '{"video_id": ["0001"], "caption": []}'),
    Case("null", "c.json", "null"),
    Case("half pairs as keys", "c.json", json.dumps({"\ud800": "x", "0001": "\udfff"})),
]
BAD_TEXT = pa.array([b"\xff"]).view(pa.string())
LATE = pa.array([2**62], pa.timestamp("us"))
MAPS = pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))
PARQUET = [
    Case("6 GiB of one text", "c.parquet", repeated(65_536), large=True),
    Case("300 MiB of one text", "c.parquet", repeated(3000)),
    Case("40 million rows", "c.parquet", many_rows, large=True),
    Case("no UTF-8 in Parquet", "c.parquet", parquet(video_id=["0001"], caption=BAD_TEXT)),
    Case("impossible dates", "c.parquet", parquet(video_id=["0001"], start=LATE)),
    Case("lists of lists in Parquet", "c.parquet", parquet(video_id=["0001"], caption=[[["x"]]])),
    Case("a column of maps", "c.parquet", parquet(video_id=MAPS)),
    Case("Parquet cut short", "c.parquet", cut(parquet(video_id=["0001"], caption=["x"]), 200)),
    Case("no Parquet", "c.parquet", b"PAR1" + bytes(range(256)) + b"\xff\xff\xff\x7fPAR1"),
    Case("a pipe as Parquet", "c.parquet", os.mkfifo),
]
REPEATED = pickle.dumps({"train1": [["word" * 99] * 999] * 9999})
PICKLES = [
    Case("a hash that doubles", "raw-captions.pkl", nested_tuples()),
    Case("a memo of gigabytes", "raw-captions.pkl", b"\x80\x02}r\xff\xff\xff\x7f."),
    Case("a caption ten million times", "raw-captions.pkl", REPEATED),
    Case("a name of code", "raw-captions.pkl", b"cos\nsystem\n(S'true'\ntR."),
]


def aliases(value):
    """Ten levels, each nine times the one before."""
    names = [chr(n) for n in range(97, 107)]
    levels = [f"{b}: &{b} {value(', '.join(['*' + a] * 9))}" for a, b in pairwise(names)]
    return "\n".join(["a: &a {x: 1}", *levels])


YAML = [
    Case("aliases of aliases", "mine.yaml", aliases("[{}]".format)),
    Case("merges of merges", "mine.yaml", aliases("{{<<: [{}]}}".format)),
    Case("a list that holds itself", "mine.yaml", "a: &a [*a]"),
    Case("nested YAML", "mine.yaml", "[" * 100_000),
    Case("blocks in blocks", "mine.yaml", "- " * 60_000 + "x"),
    Case("5,000 digits in YAML", "mine.yaml", "train: {seed: " + "9" * 5000 + "}"),
    Case("5,000 digits of base 16", "mine.yaml", "train: {seed: 0x" + "f" * 5000 + "}"),
    Case("a day that never is", "mine.yaml", "train: {seed: 2026-02-30}"),
    Case("a tag that does not fit", "mine.yaml", "train: !!timestamp x"),
    Case("a list as a key", "mine.yaml", "{[a]: b}"),
    Case("a zero byte in YAML", "mine.yaml", 'store: "a\\0b"'),
    Case("half a pair in YAML", "mine.yaml", 'store: "\\ud800"'),
    Case("a megabyte of YAML", "mine.yaml", "k: v\n" * 200_000),
    Case("as much YAML as is read", "mine.yaml", "[" + "a," * 60_000 + "]", large=True),
    Case("a pipe as YAML", "mine.yaml", os.mkfifo),
    Case("an endless device as YAML", "mine.yaml", link("/dev/zero")),
    Case("code in YAML", "mine.yaml", "store: !!python/object/apply:os.system ['true']"),
]
CASES = [*CSV, *PACKED, *JSON, *PARQUET, *PICKLES, *YAML]


def checked(config):
    """(exit code, seconds, MiB) of `reelvec corpus check`; code 124: it was stopped."""
    command = [sys.executable, "-m", "reelvec.flows.cli", "corpus", "check", config.name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start, peak = time.monotonic(), 0
    with psutil.Popen(
        command,
        cwd=config.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            if time.monotonic() - start > SECONDS:
                process.kill()
                return 124, SECONDS, peak
            peak = max(peak, held(process))
            time.sleep(0.02)
    return process.returncode, time.monotonic() - start, peak


def held(process):
    """MiB that a process and its children hold."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.Error:
        pass
    return total // 2**20


def read_here(config):
    """What the readers say, without a command line: a class name, or "read"."""
    from reelvec.configs import ConfigError, load
    from reelvec.storage.corpora import open_corpus
    from reelvec.storage.errors import CorpusError

    try:
        open_corpus(load(config.name).corpus, store_dir="store").read()
    except (ConfigError, CorpusError) as error:
        return type(error).__name__
    return "read"


def in_one_process(folder):
    """{title: [outcome, CPU seconds, MiB above the start]} of all that are not large."""
    found = {}
    for number, case in enumerate(case for case in CASES if not case.large):
        config = prepared(case, folder / str(number))
        os.chdir(config.parent)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew
        before, start = status("VmRSS"), time.process_time()
        outcome = read_here(config)
        found[case.title] = [outcome, time.process_time() - start, status("VmHWM") - before]
    return found


def prepared(case, folder):
    (folder / "videos").mkdir(parents=True)
    (folder / "videos" / "0001.mp4").write_bytes(b"")
    return case.write(folder)


def status(name):
    """MiB of a line of /proc/self/status."""
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelvec-hostile-") as name:
        if options.library:
            print(json.dumps(in_one_process(Path(name))))
            os.chdir("/")
            return
        print(f"{'file':<30}{'bytes':>14}{'exit':>6}{'seconds':>9}{'MiB':>7}")
        wrong = 0
        for number, case in enumerate(CASES):
            config = prepared(case, Path(name) / str(number))
            path = config.parent / case.name
            size = path.stat().st_size if path.is_file() else 0
            code, seconds, peak = checked(config)
            wrong += code not in (0, 1, 2) or peak > MEBIBYTES
            row = f"{case.title:<30}{size:>14,}{code:>6}{seconds:>9.1f}{peak:>7}"
            print(row, flush=True)
        print(f"{len(CASES)} files, {wrong} wrong")
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
