"""Search over 100,000 videos (and more): the index against the bare product with the same matrix.

``python -m tests.benchmarks.search [--rows 1000000] [--width 512]``. The rival computes
``matrix @ query`` over the index's own mapped file and takes the ten highest products, without
ids, exact scores, ties or paths. Times are
CPU time of one thread, least of some rounds, once the file is in memory; the first search of a
process checks the file's checksum as well, and the first of a store makes it: both are shown.
FAISS' flat index of the same vectors, and the approximate index of int8 numbers, stand beside them.
Memory is what a process holds beside mapped files (anonymous pages). The vectors lie around 32
directions drawn once, as an encoder's do around few: without any such order no index helps.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from reelvec.configs.indexing import IndexConfig
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
DIRECTIONS = 32


def least_seconds(work, *, rounds):
    """Least CPU time of some rounds, and what the last gave."""
    least, result = float("inf"), None
    for _ in range(rounds):
        started = time.process_time()
        result = work()
        least = min(least, time.process_time() - started)
    return least, result


def unit_rows(rng, count, width):
    directions = np.random.default_rng(7).standard_normal((DIRECTIONS, width), np.float32)
    rows = rng.standard_normal((count, DIRECTIONS), np.float32) @ directions / DIRECTIONS**0.5
    rows += 0.3 * rng.standard_normal((count, width), np.float32) + 0.6
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
    threadpool_limits(1)  # NumPy's product has threads of its own
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
        blocks, expected = least_seconds(by_blocks, rounds=1)
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
        print(f"{'':-<73}")
        beside_faiss(matrix, queries, rival)
        beside_index(embeddings, corpus, queries, found, rival)
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def beside_faiss(matrix, queries, rival):
    """FAISS' exact index, a query at a time, in memory."""
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(matrix.shape[1])
    for start in range(0, len(matrix), PART):
        flat.add(np.array(matrix[start : start + PART]))
    seconds, _ = least_seconds(lambda: [flat.search(q[None], TOP) for q in queries], rounds=3)
    row("FAISS, a flat index in memory, a query", seconds / QUERIES, rival / QUERIES)


def beside_index(embeddings, corpus, queries, exact, rival):
    """The approximate index: what it costs and finds."""
    searcher = Searcher(embeddings, corpus=corpus, index=IndexConfig())
    made, index = least_seconds(lambda: searcher.ranks, rounds=1)
    held = held_mib()
    seconds, found = least_seconds(
        lambda: [searcher.nearest(query[None], top=TOP)[0] for query in queries], rounds=5
    )
    grown = held_mib() - held
    facts = index.shortlist.facts
    row("index of int8 numbers, a query, with ids, paths", seconds / QUERIES, rival / QUERIES)
    row("the index is made, and its recall measured", made)
    print(f"{facts['probes']} of {facts['lists']} lists, {facts['times'] * TOP} scored exactly;")
    print(f"recall@10 as measured {facts['recall']:.3f}, codes alone {facts['codes_alone']:.3f}")
    same = [
        len({r.video_id for r in some.rows} & {r.video_id for r in whole.rows}) / TOP
        for some, whole in zip(found, exact, strict=True)
    ]
    print(f"recall@10 of these {QUERIES} queries {np.mean(same):.3f}")
    print(f"held by {5 * QUERIES} searches: {grown:.1f} MiB more than before them")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    main(**vars(parser.parse_args()))
