"""Moments: how well a tiny model finds those of films it never saw, and memory by a film's length.

    python -m tests.benchmarks moments
    python -m tests.benchmarks.moments [quality|memory]

Quality: the preset `films`, once by shots and once by windows of one length, from the same frames
and weights. Memory: films of ten minutes, an hour and ten hours, made by repeating a minute, are
ingested, extracted and cut into windows in a program of its own, once by time, once by shots and
once by time from keyframes alone; peaks of memory as in `long_videos`: resident of the program and
of its decoder, mapped files included, and what all of them hold.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.scoring.moments import score_moments
from reelvec.tasks.training import train
from tests.benchmarks.long_videos import Watch, make
from tests.support.engine_free import run_embed, run_extract, run_ingest
from tests.support.programs import ROOT

WINDOWS = {
    "shots": {"by": "shots"},
    "5 s, one a second": {"seconds": 5, "stride": 1},
}
MINUTES = (10, 60, 600)
CUTS = {"time": ("time", "per_second"), "shots": ("shots", "per_second"),
        "keyframes": ("time", "keyframes")}  # fmt: skip
"""What a row is called -> (by what windows are cut, which frames are kept)."""
DRAWN = "testsrc2=size=160x120:rate=1,hue=b=3*sin(floor(t/7)*2)"
"""Its brightness changes every seven seconds, which is a cut."""

PROGRAM = """
import json, sys, time
from reelvec.configs import PipelineConfig
from reelvec.storage.frames.reader import FrameReader
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training import train
from tests.support.engine_free import run_embed, run_extract, run_ingest

config = PipelineConfig.model_validate({
    "store": sys.argv[2],
    "corpus": {"kind": "folder", "videos": sys.argv[1],
               "windows": {"by": sys.argv[3], "seconds": 10, "stride": 10}},
    "extract": {"size": 64, "sampling": {"policy": sys.argv[4]}},
    "model": {"family": "frozen", "max_frames": 4}, "train": {"epochs": 0},
})
seconds = {}
def timed(name, call):
    started = time.monotonic()
    result = call()
    seconds[name] = time.monotonic() - started
    return result

timed("ingest", lambda: run_ingest(config))
_, frames = timed("extract", lambda: run_extract(config))
train.train(Session(config))
_, tables = timed("embed", lambda: run_embed(config))
(row,) = frames.live("frames").values()
reader = FrameReader(frames)
(kept,) = reader.lengths(reader.keys)
reader.close()
print(json.dumps({"status": row.status, "windows": tables.rows_of("windows"), "seconds": seconds,
                  "frames": int(kept)}))
"""


def quality(store):
    """Print the moment metrics of the test films, a column for each kind of windows."""
    found = {}
    for name, windows in WINDOWS.items():
        given = {"preset": "films", "store": store, "corpus": {"windows": windows}}
        config = PipelineConfig.model_validate(given)
        run_ingest(config)
        run_extract(config)
        train.train(Session(config))
        run_embed(config)
        sources = sources_of(Session(config))
        rows = score_moments(
            sources.embeddings,
            corpus=sources.corpus.videos,
            options=config.evaluate,
            scoring=dot_product(),
        )
        found[name] = {row.metric: row for row in rows}
    print(f"| | {' | '.join(found)} |\n| --- |" + " ---: |" * len(found))
    for metric in next(iter(found.values())):
        cells = [_cell(rows.get(metric)) for rows in found.values()]
        print(f"| {metric} | {' | '.join(cells)} |")
    print({name: next(iter(rows.values())).n for name, rows in found.items()}, flush=True)


def _cell(row):
    if row is None:
        return ""
    return f"{row.value:.1f}" + ("" if row.low is None else f" ({row.low:.1f} – {row.high:.1f})")


def memory():
    """Print one row a length and kind of windows."""
    print(
        "| film | frames | windows | ingest | extract | embed | program | decoder | held by all |"
    )
    print("| --- |" + " ---: |" * 8)
    for minutes in MINUTES:
        with tempfile.TemporaryDirectory() as folder:
            videos = Path(folder) / "videos"
            videos.mkdir()
            make(videos / "long.mp4", drawn=DRAWN, seconds=60, times=minutes)
            for name, cut in CUTS.items():
                done, peaks = _run(videos, Path(folder) / name, *cut)
                spent = " | ".join(f"{s:.0f} s" for s in done["seconds"].values())
                print(
                    f"| {minutes} min, {name} | {done['frames']:,} | {done['windows']:,} | {spent}"
                    f" | {peaks['own']:.0f} | {peaks['decoder']:.0f} | {peaks['held']:.0f} |",
                    flush=True,
                )


def _run(videos, store, by, policy):
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(videos), str(store), by, policy],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    watch = Watch(child.pid)
    watch.start()
    out, _ = child.communicate()
    watch.over.set()
    done = json.loads(out.splitlines()[-1])
    if done["status"] != "ok" or done["windows"] == 0:
        raise RuntimeError(f"{store}: {done}")
    return done, watch.peaks


def main(arguments=()):
    """Both, or the one that is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.moments")
    parser.add_argument("named", nargs="?", choices=("quality", "memory"))
    chosen = parser.parse_args(list(arguments)).named
    named = (chosen,) if chosen else ("quality", "memory")
    if "quality" in named:
        with tempfile.TemporaryDirectory() as store:
            quality(store)
    if "memory" in named:
        memory()


if __name__ == "__main__":
    main(sys.argv[1:])
