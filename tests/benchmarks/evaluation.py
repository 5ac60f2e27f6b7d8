"""Evaluation of all texts against all videos, beside the bare product of their vectors.

``python -m tests.benchmarks.evaluation [--rows 10000] [--captions 1] [--flat]``. One thread each;
ours scores the next tile in a second one, so CPU seconds, which a busy machine bends less, stand
beside those of the clock. Ours goes from two tables to ranks of both directions, the five best
videos of each text, and metrics with their intervals. The originals' way (CLIP4Clip's
compute_metrics, both directions) sorts every row of the finished matrix. faiss (a flat index) and
mteb give the best of a text alone, faiss of a video too; each runs where it is installed.
``--flat`` is for sizes whose matrix does not fit into memory: ours alone, and what memory it takes.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from reelvec.configs.schema import EvaluateConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.scoring.split_scores import score_split
from tests.benchmarks.search import unit_rows

TALL = 512
PART = 50_000


class Seconds(NamedTuple):
    """Of all threads, and of the clock."""

    cpu: float
    clock: float


def seconds_of(work):
    """How long it took, and what came out."""
    started = Seconds(time.process_time(), time.perf_counter())
    result = work()
    return Seconds(time.process_time() - started.cpu, time.perf_counter() - started.clock), result


def tables(folder, texts, videos, *, captions):
    """A snapshot of embeddings whose text i is about video i // captions."""
    artifact = Artifact.open(open_root(folder), kind="embeddings", identity={"kind": "embeddings"})
    names = [f"video{row:08d}" for row in range(len(videos))]
    owners = [names[row // captions] for row in range(len(texts))]
    keys = {"videos": names, "captions": [f"text{row:08d}" for row in range(len(texts))]}
    receipts = []
    for table, vectors in (("videos", videos), ("captions", texts)):
        for start in range(0, len(vectors), PART):
            some = slice(start, min(start + PART, len(vectors)))
            count = some.stop - some.start
            flat = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors[some].reshape(-1)), vectors.shape[1]
            )
            columns = {"split": pa.array(["test"] * count), "embedding": flat}
            if table == "captions":
                columns |= {
                    "caption_id": pa.array(keys[table][some]),
                    "video_id": pa.array(owners[some]),
                    "subset": pa.array([""] * count),
                }
            else:
                columns["video_id"] = pa.array(keys[table][some])
            with artifact.new_part(table=table, shard=f"p{start}", suffix=".parquet") as part:
                write_table(
                    part.path, pa.table(columns), metadata=identity_metadata(artifact.identity)
                )
                outcomes = [Outcome(key) for key in keys[table][some]]
                receipts.append(part.commit(rows=count, outcomes=outcomes))
    return artifact.publish(add=receipts)


def bare(texts, videos):
    """All products, block by block into one buffer."""
    out = np.empty((TALL, len(videos)), np.float32)
    for start in range(0, len(texts), TALL):
        some = texts[start : start + TALL]
        np.matmul(some, videos.T, out=out[: len(some)])


def originals_ranks(sim):
    """CLIP4Clip's compute_metrics: every row sorted, then where the own score stands."""
    ordered = np.sort(-sim, axis=1)
    own = np.diag(-sim)[:, None]
    rows, places = np.where((ordered - own) == 0)
    _, first = np.unique(rows, return_index=True)  # of equal scores they count each
    return places[first] + 1


def originals_way(texts, videos):
    sim = texts @ videos.T
    return originals_ranks(sim), originals_ranks(np.ascontiguousarray(sim.T))


def faiss_way(texts, videos):
    import faiss

    for left, right in ((texts, videos), (videos, texts)):
        index = faiss.IndexFlatIP(right.shape[1])
        index.add(right)
        index.search(left, 5)


def mteb_way(texts, videos):
    """Its search (the best thousand of each text) and its scores, text to video alone."""
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    results, relevant = {}, {}
    for start in range(0, len(texts), TALL):
        best = (torch.from_numpy(texts[start : start + TALL]) @ torch.from_numpy(videos).T).topk(
            min(1000, len(videos)), dim=1
        )
        for row, (scores, places) in enumerate(
            zip(best.values.tolist(), best.indices.tolist(), strict=True), start=start
        ):
            named = map(str, places)
            results[str(row)] = dict(zip(named, scores, strict=True))
            relevant[str(row)] = {str(row): 1}
    return calculate_retrieval_scores(results, relevant, [1, 5, 10])


def held_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(rows=10_000, width=512, captions=1, flat=False):
    """Seconds, their ratios to the bare product's, and the most memory held."""
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's and FAISS' own
    rng = np.random.default_rng(0)
    videos = unit_rows(rng, rows // captions, width)
    noise = unit_rows(rng, rows, width)
    texts = np.repeat(videos, captions, axis=0)[:rows] + 4.0 * noise
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    print(f"{len(texts):,} texts x {len(videos):,} videos of {width} numbers; one thread")
    print(f"{'':<46} {'CPU s':>8} {'x bare':>8} {'clock s':>8} {'x bare':>8}")
    product, _ = seconds_of(lambda: bare(texts, videos))

    def show(name, seconds):
        columns = (
            f"{mine:>8.2f} {mine / bares:>8.2f}"
            for mine, bares in zip(seconds, product, strict=True)
        )
        print(f"{name:<46} {' '.join(columns)}", flush=True)

    show("bare product, float32", product)
    with tempfile.TemporaryDirectory() as folder:
        snapshot = tables(Path(folder) / "store", texts, videos, captions=captions)
        before = held_mib()
        for bootstrap in (0, 1000):
            options = EvaluateConfig(bootstrap=bootstrap)
            ours, found = seconds_of(
                lambda options=options: score_split(
                    snapshot, options=options, scoring=dot_product()
                )
            )
            show(f"ours, both directions, {bootstrap} resamples", ours)
            if flat:
                break
        print(f"most memory held, more than before: {held_mib() - before:,.0f} MiB")
    if flat:
        return
    again, _ = seconds_of(lambda: bare(texts, videos))
    show("bare product once more", again)
    if captions == 1:
        theirs, (t2v, _) = seconds_of(lambda: originals_way(texts, videos))
        show("NumPy as the originals do: rows sorted", theirs)
        ranks = found.ranks.column("rank").to_numpy()
        print(f"ranks that differ from theirs (rounding): {int((ranks != t2v).sum())}")
    for name, way in (
        ("faiss flat, five best, both", faiss_way),
        ("mteb, text to video", mteb_way),
    ):
        try:
            way(texts[:8], videos[:8])  # what is imported counts for nobody
            seconds, _ = seconds_of(lambda way=way: way(texts, videos))
        except ImportError as error:
            print(f"{name}: not here ({error})")
        else:
            show(name, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--captions", type=int, default=1)
    parser.add_argument("--flat", action="store_true")
    main(**vars(parser.parse_args()))
