"""Exact search with scores that look at the query: bounds against the dot product, and all scored.

``python -m tests.benchmarks.bounds [--videos 100000] [--queries 1000] [--checked 1000]
[--family X-Pool ...] [--near 0.9]``. For each family a table of that many videos (512 numbers, 12
frames, 32 words) is made in a temporary folder, each query is meant for one of them, and the ten
best are found through `BoundedIndex`. The dot product is `matrix @ query` over a float32 matrix of
as many rows, and its ten best (of 100,000 rows at least, scaled); "all" is the family's own score
over blocks of columns that lie in memory; "table" is search as it is without a bound, which reads
and scores every row of the table: `--checked` queries are answered so too, and must agree to the
last bit. Frames of a video have the cosine `--near`; the
vectors of all videos have a common direction, as CLIP's do. Times are CPU time of one thread, the
mean over the queries.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from reelvec.models.clip.architecture import Architecture
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.topk import block_topk
from reelvec.models.registry import build
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.search import best_videos

WIDTH, FRAMES, WORDS, TOP, PART, BLOCK = 512, 12, 32, 10, 5_000, 4096
FAMILIES = {
    "X-Pool": ("xpool", {}),
    "TS2-Net": ("ts2net", {}),
    "qscore": ("adaclip", {"frame_agg": "qscore", "frame_agg_temp": 0.1}),
    "UCoFiA": ("ucofia", {}),
    "DRL": ("drl", {}),
    "X-CLIP": ("xclip", {}),
}
SIZES = Architecture(
    embed_dim=WIDTH, image_size=64, vision_layers=1, vision_width=64, patch_size=32,
    text_width=WIDTH, text_layers=1, vocab_size=8,
)  # fmt: skip
LINE = "{:<10} {:>9} {:>9} {:>9} {:>10} {:>11} {:>9} {:>9}"


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
    """Of a query, the least of some; scaled from a matrix that no cache holds."""
    rows = max(videos, 100_000)
    matrix, query = unit(torch.randn(rows, WIDTH)), unit(torch.randn(WIDTH))
    rounds = [seconds_of(lambda q: (matrix @ q).topk(TOP), [query] * 3)[0] for _ in range(4)]
    return min(rounds) * videos / rows


@torch.inference_mode()
def all_seconds(model, drawn, videos):
    """Of a query scored with every video, in blocks that lie in memory."""
    text, block = drawn.text(0, videos=videos), drawn.videos(0, BLOCK)
    once = min(
        seconds_of(lambda t: block_topk(model.similarity(t, block), k=TOP), [text])[0]
        for _ in range(3)
    )
    return once * videos / BLOCK


def compared(name, *, videos, queries, checked, near, dot):
    model = model_of(name)
    drawn, scoring = Drawn(model, near=near), scoring_of(model)
    texts = [drawn.text(number, videos=videos).columns() for number in range(queries)]
    with tempfile.TemporaryDirectory() as folder:
        table = table_of(Path(folder), drawn, videos=videos)
        made, index = seconds_of(
            lambda t: BoundedIndex.of(t, scoring=scoring, bound=scoring.bound), [table]
        )
        first, _ = seconds_of(lambda t: index[0].best(t, top=TOP), texts[:1])
        ours, found = seconds_of(lambda t: index[0].best(t, top=TOP), texts)
        plain, expected = seconds_of(
            lambda t: best_videos(t, embeddings=table, top=TOP, scoring=scoring), texts[:checked]
        )
    same = sum(one == other for one, other in zip(found, expected, strict=False))
    scored = sum(one.scored for one in found) / len(found) / videos
    whole = all_seconds(model, drawn, videos)
    print(
        LINE.format(
            name,
            f"{ours * 1e3:.0f} ms",
            f"{ours / dot:.1f}",
            f"{whole / dot:.1f}",
            f"{plain / dot:.0f}",
            f"{100 * (1 - scored):.2f} %",
            f"{same}/{len(expected)}",
            f"{made + first:.1f} s",
        ),
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--checked", type=int, default=2)
    parser.add_argument("--near", type=float, default=0.9, help="cosine of a video's frames")
    parser.add_argument("--family", action="append", choices=FAMILIES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    dot = dot_seconds(given.videos)
    print(f"{given.videos:,} videos, frames at cosine {given.near}, {given.queries} queries")
    print(f"dot product and its ten best, a query: {dot * 1e3:.1f} ms")
    heads = ("a query", "x dot", "all: x", "table: x", "pruned", "same", "to make")
    print(LINE.format("", *heads))
    for name in given.family or FAMILIES:
        compared(
            name,
            videos=given.videos,
            queries=given.queries,
            checked=given.checked,
            near=given.near,
            dot=dot,
        )


if __name__ == "__main__":
    main()
