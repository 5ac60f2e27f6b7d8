"""Search over 100,000 videos (and more): the index against the bare product with the same matrix.

``python -m tests.benchmarks.search [--rows 1000000] [--width 512]``. The rival computes
``matrix @ query`` over the index's own mapped file and takes the ten highest products, without
ids, exact scores, ties or paths. Times are
CPU time of one thread, least of some rounds, once the file is in memory; the first search of a
process checks the file's checksum as well, and the first of a store makes it: both are shown.
Memory is what a process holds beside mapped files (anonymous pages).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import VIDEO_SCHEMA, Outcome, Video, records_to_table
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.searching.search import best_videos
from reelvec.tasks.searching.searcher import Searcher

PART = 50_000
QUERIES = 20
TOP = 10


def least_seconds(work, *, rounds):
    """Least CPU time of some rounds, and what the last gave."""
    least, result = float("inf"), None
    for _ in range(rounds):
        started = time.process_time()
        result = work()
        least = min(least, time.process_time() - started)
    return least, result


def unit_rows(rng, count, width):
    rows = rng.standard_normal((count, width)).astype(np.float32) + 0.6
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tables(folder, *, rows, width):
    """Snapshots of a corpus and of its embeddings; every tenth video is a copy of its neighbour."""
    root, rng = open_root(folder), np.random.default_rng(0)
    corpus = Artifact.open(root, kind="corpus", identity={"kind": "corpus"})
    table = Artifact.open(root, kind="embeddings", identity={"kind": "embeddings"})
    made = {"corpus": [], "embeddings": []}
    for start in range(0, rows, PART):
        names = [f"video{row:08d}" for row in range(start, min(start + PART, rows))]
        vectors = unit_rows(rng, len(names), width)
        vectors[9::10] = vectors[8::10][: len(vectors[9::10])]
        videos = [Video(name, f"/videos/{name}.mp4", split="test") for name in names]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width)
        splits = pa.array(["test"] * len(names), pa.string())
        columns = {"video_id": pa.array(names), "split": splits, "embedding": flat}
        for artifact, piece in [
            (corpus, records_to_table(videos, schema=VIDEO_SCHEMA)),
            (table, pa.table(columns)),
        ]:
            with artifact.new_part(table="videos", shard=f"p{start}", suffix=".parquet") as part:
                write_table(part.path, piece, metadata=identity_metadata(artifact.identity))
                outcomes = [Outcome(name) for name in names]
                made[artifact.kind].append(part.commit(rows=len(names), outcomes=outcomes))
    return corpus.publish(add=made["corpus"]), table.publish(add=made["embeddings"])


def bare(matrix, queries):
    """The ten highest products of each query, as row numbers."""
    return [best_rows((matrix @ query)[:, None])[0] for query in queries]


def best_rows(products):
    """Of products [N, Q]."""
    best = []
    for column in products.T:
        rows = np.argpartition(column, -TOP)[-TOP:]
        best.append(rows[np.argsort(-column[rows])])
    return best


def held_mib():
    """Anonymous memory of this process: what is no page of a file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def row(name, seconds, rival=None):
    ratio = "" if rival is None else f"{seconds / rival:9.2f}"
    print(f"{name:<52} {seconds * 1000:>10.1f} {ratio:>9}")


def main(rows=100_000, width=512):
    """Times, ratios and memory."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    queries = unit_rows(rng, QUERIES, width)
    with tempfile.TemporaryDirectory() as folder:
        corpus, embeddings = tables(Path(folder) / "store", rows=rows, width=width)
        print(f"{rows:,} videos of {width} numbers; {QUERIES} queries, {TOP} answers each")
        print(f"{'one thread, CPU':<52} {'ms':>10} {'x bare':>9}")
        print(f"{'':-<73}")
        made, _ = least_seconds(lambda: Searcher(embeddings, corpus=corpus).index, rounds=1)
        anew, _ = least_seconds(lambda: Searcher(embeddings, corpus=corpus).videos, rounds=1)
        searcher = Searcher(embeddings, corpus=corpus)
        opened, matrix = least_seconds(lambda: searcher.index.vectors, rounds=1)
        held = held_mib()

        def search(some):
            return [searcher.nearest(query[None], top=TOP)[0] for query in some]

        def by_blocks():
            columns = {"embedding": torch.from_numpy(queries[:1].copy())}
            return best_videos(columns, embeddings=embeddings, top=TOP, scoring=dot_product())

        search(queries[:1])
        rival, best = least_seconds(lambda: bare(matrix, queries), rounds=5)
        ours, found = least_seconds(lambda: search(queries), rounds=5)
        grown = held_mib() - held
        together, batch = least_seconds(lambda: searcher.nearest(queries, top=TOP), rounds=3)
        product, _ = least_seconds(lambda: best_rows(matrix @ queries.T), rounds=3)
        blocks, expected = least_seconds(by_blocks, rounds=2)
        row("bare product and its ten best, a query", rival / QUERIES)
        row("search, a query, with ids, paths, exact scores", ours / QUERIES, rival / QUERIES)
        row("every row scored exactly from the table, a query", blocks, rival / QUERIES)
        row("bare product of all queries at once, and ten best", product)
        row("search of all queries at once", together, product)
        row("first search of a process: checksum of the file", opened)
        row("first search of a store: matrix and ids are made", made)
        row("first search of a store: the corpus by id", anew)
        print(f"held by {5 * QUERIES + 1} searches: {grown:.1f} MiB more than before them")
        same = [r.video_id for r in found[0].rows] == [name for name, _ in expected.best]
        print(f"the answers are those of every row's exact score: {same}")
        print(f"a query and many at once answer alike: {found == batch}")
        near = {f"video{number:08d}" for number in best[0]} & {r.video_id for r in found[0].rows}
        print(f"of the first ten, the bare product has {len(near)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    main(**vars(parser.parse_args()))
