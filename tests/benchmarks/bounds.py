"""Exact search with scores that look at the query: bounds against the dot product, and all scored.

``python -m tests.benchmarks.bounds [--videos 100000] [--queries 1000] [--checked 1000]
[--family X-Pool ...] [--at-most 1000 ...] [--near 0.9]``. For each family a table of that many
videos (512 numbers, 12 frames, 32 words) is made in a temporary folder, each query is meant for
one of them, and the ten best are found through `BoundedIndex`: "alone" one query at a time, "of
many" all of them in one call. The dot product is of a float32 matrix of as many rows, and its ten
best (of 100,000 rows at least, scaled): with one query, and with 16 at once. "All" is brute force
over batches of queries (`_all_pairs`), "table" is search as it is without a bound, which reads and
scores every row: `--checked` and `--rows` queries are answered so too, and must agree to the last
bit. `--at-most` scores no more than so many of the highest bounds. Frames of a video have the
cosine `--near`; the vectors of all videos have a common direction, as CLIP's do. Times are CPU time
of one thread, the mean over the queries; a line goes to stderr for every 5,000 videos.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from reelvec.models.clip.architecture import Architecture
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.registry import build
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.search import best_videos
from tests.benchmarks._all_pairs import LOST, best_of_all
from tests.benchmarks.similarity import peak_mb

WIDTH, FRAMES, WORDS, TOP, PART, TOGETHER = 512, 12, 32, 10, 5_000, 16
FAMILIES = {
    "X-Pool": ("xpool", {}),
    "TS2-Net": ("ts2net", {}),
    "topk": ("xpool_baseline", {"pooling": "topk"}),
    "attention": ("xpool_baseline", {"pooling": "attention"}),
    "qscore": ("adaclip", {"frame_agg": "qscore", "frame_agg_temp": 0.1}),
    "UCoFiA": ("ucofia", {}),
    "DRL": ("drl", {}),
    "X-CLIP": ("xclip", {}),
}
SIZES = Architecture(
    embed_dim=WIDTH, image_size=64, vision_layers=1, vision_width=64, patch_size=32,
    text_width=WIDTH, text_layers=1, vocab_size=8,
)  # fmt: skip
LINE = "{:<8} {:>8} {:>7} {:>8} {:>7} {:>8} {:>9} {:>9} {:>8}"


def unit(x):
    return functional.normalize(x, dim=-1)


def model_of(name):
    """With matrices as training leaves them: near to the identity, where they began."""
    family, options = FAMILIES[name]
    torch.manual_seed(0)
    model = build(
        family, options=options, architecture=SIZES, max_words=WORDS, max_frames=FRAMES
    ).eval()
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(100.0)))
        for key, parameter in model.named_parameters():
            if not key.startswith("clip.") and parameter.dim() == 2:
                parameter.add_(torch.randn_like(parameter) * 0.002)
    return model


class Drawn:
    """Features of videos and of the texts that are meant for them."""

    def __init__(self, model, *, near):
        self.model = model
        self._common = unit(torch.randn(WIDTH, generator=torch.Generator().manual_seed(1)))
        self._apart = (1 / near - 1) ** 0.5

    def vectors(self, start, rows, count, generator):
        """Unit vectors [rows, count, D]: a video's own direction, and what moves in it."""
        own = torch.Generator().manual_seed(1000 + start)
        middle = unit(self._common + unit(torch.randn(rows, WIDTH, generator=own)))
        moving = unit(torch.randn(rows, count, WIDTH, generator=generator))
        return unit(middle[:, None] + self._apart * moving)

    @torch.no_grad()
    def videos(self, start, rows):
        generator = torch.Generator().manual_seed(start)
        frames = self.vectors(start, rows, FRAMES, generator)
        found = {"frames": frames, "video": unit(frames.mean(dim=1))}
        found["mask"] = torch.ones(rows, FRAMES, dtype=torch.int64)
        found["weights"] = torch.softmax(torch.randn(rows, FRAMES, generator=generator), dim=1)
        if "pixels" in self.model.video_columns:
            found["pixels"] = 10 * self.vectors(start, rows, 4 * FRAMES, generator)
        if "grams" in self.model.video_columns:
            head = self.model.pool_frames
            counts = torch.ones(rows, FRAMES, dtype=torch.int64)
            found |= head.folded(head.layer_norm1(10 * frames), counts)._asdict()
        return VideoFeatures({name: found[name] for name in self.model.video_columns})

    @torch.no_grad()
    def text(self, number, *, videos):
        """A query: half of it is what a video shows, half is its own."""
        row = number * 7919 % videos
        own = torch.Generator().manual_seed(1000 + row // PART * PART)
        rows = min(PART, videos - row // PART * PART)
        aim = unit(torch.randn(rows, WIDTH, generator=own))[row % PART]
        generator = torch.Generator().manual_seed(number)
        words = unit(torch.randn(1, WORDS, WIDTH, generator=generator))
        words = unit(words + 0.5 * self._common + 0.5 * aim)
        sentence = unit(words.mean(dim=1) + unit(torch.randn(1, WIDTH, generator=generator)) / 2)
        found = {"sentence": sentence, "embedding": sentence, "words": words}
        found["mask"] = torch.ones(1, WORDS, dtype=torch.int64)
        found["weights"] = torch.full((1, WORDS), 1 / WORDS)
        return TextFeatures({name: found[name] for name in self.model.text_columns})


def table_of(folder, drawn, *, videos):
    root = open_root(folder / "store")
    artifact, receipts = Artifact.open(root, kind="embeddings", identity={"kind": "e"}), []
    for start in range(0, videos, PART):
        features = drawn.videos(start, min(PART, videos - start))
        names = [f"v{row:08d}" for row in range(start, start + len(features))]
        columns = {"video_id": pa.array(names), "split": pa.array(["test"] * len(names))}
        for name, values in features.columns().items():
            exact = drawn.model.video_columns[name].kind != "float"
            flat = pa.array((values if exact else values.half()).numpy().reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        with artifact.new_part(table="videos", shard=f"p{start}", suffix=".parquet") as part:
            write_table(part.path, pa.table(columns), metadata=identity_metadata(artifact.identity))
            receipts.append(part.commit(rows=len(names), outcomes=[Outcome(n) for n in names]))
    return artifact.publish(add=receipts)


def seconds_of(work, inputs):
    """Mean CPU seconds, and what came out."""
    started, found = time.process_time(), [work(given) for given in inputs]
    return (time.process_time() - started) / max(len(found), 1), found


@torch.inference_mode()
def dot_seconds(videos):
    """Of a query alone, and of one of many, the least of some; of a matrix that no cache holds."""
    rows = max(videos, 100_000)
    matrix, queries = unit(torch.randn(rows, WIDTH)), unit(torch.randn(TOGETHER, WIDTH))

    def least(query):
        rounds = [seconds_of(lambda q: (q @ matrix.T).topk(TOP), [query] * 3)[0] for _ in range(4)]
        return min(rounds) * videos / rows

    return least(queries[0]), least(queries) / TOGETHER


def held_to(name, model, table, texts, found, *, scoring, rows):
    """Prints how many answers are those of brute force; its CPU seconds a query, and the table's.

    Args:
        name: of the family.
        model: of it.
        table: its videos.
        texts: queries that are answered again with every video.
        found: what search answered.
        scoring: of the model.
        rows: so many of them are answered as a search without a bound does.
    """
    columns = [text.columns() for text in texts]
    plain, expected = seconds_of(
        lambda t: best_videos(t, embeddings=table, top=TOP, scoring=scoring), columns[:rows]
    )
    print(f"{name}: {same_of(found, expected)} as every row's score", flush=True)
    if name not in LOST or not texts:
        return None, plain
    started = time.process_time()
    expected, again, apart = best_of_all(name, model, table, texts, scoring=scoring, top=TOP)
    spent = (time.process_time() - started) / len(texts)
    print(
        f"{name}: {same_of(found, expected)} as brute force, where scores that may be {apart:.2g}"
        f" apart were computed again, {again:.0f} a query",
        flush=True,
    )
    return spent, plain


def same_of(found, expected):
    same = sum(one == other for one, other in zip(found, expected, strict=False))
    return f"{same:,} of {len(expected):,} the same"


def certified(name, index, texts, exact, *, at_most, dot):
    """Prints what a search that scores no more than so many misses, and how many are undecided."""
    spent, found = seconds_of(lambda t: index.best(t, top=TOP, at_most=at_most), texts)
    left = np.array([one.undecided for one in found])
    shared = [
        len({n for n, _ in one.best} & {n for n, _ in other.best}) / len(other.best)
        for one, other in zip(found, exact, strict=True)
    ]
    print(
        f"{name}, --at-most {at_most:,}: {np.median(left):,.0f} undecided (most {left.max():,},"
        f" none of {np.mean(left == 0):.0%}), recall {np.mean(shared):.3f}, {spent / dot:.1f} times"
        " the dot product",
        flush=True,
    )


def compared(name, given, *, dots):
    model, (dot, many) = model_of(name), dots
    drawn, scoring = Drawn(model, near=given.near), scoring_of(model)
    texts = [drawn.text(number, videos=given.videos) for number in range(given.queries)]
    columns = [text.columns() for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        table = table_of(Path(folder), drawn, videos=given.videos)
        made, (index,) = seconds_of(
            lambda t: BoundedIndex.of(t, scoring=scoring, bound=scoring.bound), [table]
        )
        best = partial(index.best, top=TOP)
        first, _ = seconds_of(best, columns[:1])
        alone, once = seconds_of(best, columns[: given.alone])
        together, (found,) = seconds_of(
            lambda some: [best(top=TOP) for best in index.each(some)], [columns]
        )
        together /= given.queries
        if found[: given.alone] != once:
            raise AssertionError("a query has other answers among others")
        for at_most in given.at_most:
            certified(name, index, columns[: given.alone], once, at_most=at_most, dot=dot)
        whole, plain = held_to(
            name, model, table, texts[: given.checked], found, scoring=scoring, rows=given.rows
        )
    scored = sum(one.scored for one in found) / len(found) / given.videos
    print(
        LINE.format(
            name,
            f"{alone * 1e3:.0f} ms",
            f"{alone / dot:.1f}",
            f"{together * 1e3:.0f} ms",
            f"{together / many:.1f}",
            "" if whole is None else f"{whole / many:.1f}",
            f"{plain / dot:.0f}",
            f"{100 * (1 - scored):.2f} %",
            f"{made + first:.1f} s",
        ),
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=32, help="answered in one call")
    parser.add_argument("--alone", type=int, default=5, help="of these, answered one by one too")
    parser.add_argument("--checked", type=int, default=32, help="likewise, held to brute force")
    parser.add_argument("--rows", type=int, default=1, help="likewise, as without a bound")
    parser.add_argument("--at-most", type=int, action="append", default=[])
    parser.add_argument("--near", type=float, default=0.9, help="cosine of a video's frames")
    parser.add_argument("--family", action="append", choices=FAMILIES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dots = dot_seconds(given.videos)
    print(f"{given.videos:,} videos, frames at cosine {given.near}, {given.queries} queries")
    print(f"dot product and its ten best, a query: {dots[0] * 1e3:.1f} ms alone,", end=" ")
    print(f"{dots[1] * 1e3:.1f} ms as one of {TOGETHER}")
    heads = ("alone", "x dot", "of many", "x dot", "all: x", "table: x", "pruned", "to make")
    print(LINE.format("", *heads), flush=True)
    for name in given.family or FAMILIES:
        compared(name, given, dots=dots)
    print(f"most memory, mapped files included: {peak_mb() / 1024:.1f} GiB")


if __name__ == "__main__":
    main()
