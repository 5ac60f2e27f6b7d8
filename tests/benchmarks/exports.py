"""Exports of one run, beside a bare copy of its vectors to a file.

``python -m tests.benchmarks.exports [--rows 20000] [--width 512]``. MB/s are megabytes of vectors
by CPU seconds, and by the clock, least of some runs each: a busy machine bends the first less. The
table is read from the store's own parts, whose share is shown by itself; an export reads the next
rows in a thread while it writes, so that on a machine with two free cores the clock is ahead.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import FolderCorpus
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import export
from reelvec.tasks.exports.source import ExportSource
from tests.benchmarks.search import tables

ROUNDS = 4


def main(rows=20_000, width=512):
    """Megabytes of vectors a second."""
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus, embeddings = tables(place / "store", rows=rows, width=width)
        config = PipelineConfig(store=str(place / "store"), corpus=FolderCorpus(videos=folder))
        size = rows * width * 4 / 1e6
        print(f"{rows:,} videos of {width} numbers, {size:,.0f} MB; MB/s")
        print(f"{'':<44} {'CPU':>8} {'clock':>8}")

        def show(name, work):
            least = clock = float("inf")
            for number in range(ROUNDS):
                started, since = time.process_time(), time.perf_counter()
                work(place / f"{name.split()[0]}{number}")
                least = min(least, time.process_time() - started)
                clock = min(clock, time.perf_counter() - since)
            print(f"{name:<44} {size / least:>8,.0f} {size / clock:>8,.0f}", flush=True)

        def source():
            return ExportSource(
                run="bench", identifier="0", config=config, embeddings=embeddings, corpus=corpus
            )

        def read(_):
            for piece in source().rows("videos"):
                del piece

        vectors = np.concatenate(
            [
                piece.column("embedding").combine_chunks().flatten().to_numpy()
                for piece in source().rows("videos", ["embedding"])
            ]
        )
        show("bare copy of the vectors to a file", lambda out: out.write_bytes(vectors.data))
        show("the table read, and nothing written", read)
        settings = ExportSettings()
        for to in ("numpy", "parquet"):
            show(f"{to} export", lambda out, to=to: export(source(), out, to=to, settings=settings))
        facts = json.loads((place / "numpy0/export.json").read_text())
        written = np.load(place / "numpy0/videos.embedding.npy", mmap_mode="r")
        same = np.array_equal(written.ravel(), vectors)
        print(f"rows written: {facts['tables']}; equal bits: {same}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    main(**vars(parser.parse_args()))
