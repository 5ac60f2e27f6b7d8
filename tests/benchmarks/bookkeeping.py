"""How many bytes of a store are about its vectors, beside the vectors' own: a share.

    python -m tests.benchmarks.bookkeeping --videos 100000

Writes the embedding tables of `--videos` videos, a caption each, as `embed` does with its default
shard sizes, 512 float32 numbers a row, and the frames' ledger. Counts what is no part: receipts,
snapshots, identities. The goal is under 2 % of the embedding parts at 100,000 videos.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelvec.configs import PipelineConfig
from reelvec.storage.records import Outcome
from reelvec.storage.tables import identity_metadata, schema_text, write_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.embed import CAPTIONS_A_VIDEO
from reelvec.tasks.embedding.rows import CaptionRow, VideoRow

NUMBERS = 512
GOAL = 0.02


def hash_of(number):
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def video_rows(numbers):
    """Facts and ledger rows of videos."""
    rows = [VideoRow(f"video-{n:09d}", hash_of(n), hash_of(n), "train", "ok") for n in numbers]
    facts = {
        "video_id": [row.video_id for row in rows],
        "content_hash": [row.content_hash for row in rows],
        "clip_key": [row.clip_key for row in rows],
        "split": [row.split for row in rows],
        "outcome": [row.status for row in rows],
        "frame_count": pa.array([12] * len(rows), pa.int32()),
    }
    return facts, [Outcome(row.key, detail=row.signature) for row in rows]


def caption_rows(numbers):
    """The same of captions."""
    text = "a caption that says in a few words what happens in the video"
    rows = [
        CaptionRow(f"video-{n:09d}#0", f"video-{n:09d}", "train", "", f"{text} {n}")
        for n in numbers
    ]
    facts = {
        "caption_id": [row.caption_id for row in rows],
        "video_id": [row.video_id for row in rows],
        "split": [row.split for row in rows],
        "subset": [row.subset for row in rows],
        "text": [row.text for row in rows],
    }
    return facts, [Outcome(row.caption_id, detail=row.signature) for row in rows]


def write(folder, *, videos):
    """A store with the embeddings and the frames' ledger of so many videos; its config."""
    config = PipelineConfig.model_validate(
        {"store": str(folder / "store"), "corpus": {"kind": "folder", "videos": str(folder)}}
    )
    size = config.embed.shard_rows
    tables = Session(config).embeddings(weights_hash="0" * 32)
    plan = (("videos", size, video_rows), ("captions", size * CAPTIONS_A_VIDEO, caption_rows))
    receipts = []
    for table, rows, make in plan:
        for start in range(0, videos, rows):
            facts, outcomes = make(range(start, min(start + rows, videos)))
            receipts.append(commit(tables, table, facts, outcomes))
    tables.publish(add=receipts)
    frames, ledger = Session(config).frames, []
    for start in range(0, videos, config.extract.shard_videos):
        some = range(start, min(start + config.extract.shard_videos, videos))
        detail = '{"decoder": "selective", "codec": "h264 in mov"}'
        with frames.new_part(table="frames", shard=str(start), suffix=".arrow") as part:
            part.path.write_bytes(b"stub")
            outcomes = [Outcome(hash_of(n), detail=detail) for n in some]
            ledger.append(part.commit(rows=len(outcomes), outcomes=outcomes))
    frames.publish(add=ledger)
    return config


def commit(artifact, table, facts, outcomes):
    """One part with vectors that do not compress, and its receipt."""
    rows = len(outcomes)
    draw = np.random.default_rng(rows)
    values = pa.array(draw.standard_normal(rows * NUMBERS, dtype=np.float32))
    data = pa.table(facts).append_column(
        "embedding", pa.FixedSizeListArray.from_arrays(values, NUMBERS)
    )
    with artifact.new_part(
        table=table, shard=f"{len(outcomes)}-{outcomes[0].key[:15]}", suffix=".parquet"
    ) as part:
        write_table(part.path, data, metadata=identity_metadata(artifact.identity))
        return part.commit(rows=rows, schema=schema_text(data.schema), outcomes=outcomes)


def counted(config):
    """Bytes of a store by kind of artifact and of file."""
    root = Path(config.store)
    found = Counter()
    for path in root.rglob("*"):
        if path.is_file():
            kind, what = path.relative_to(root).parts[0], path.relative_to(root).parts[-2]
            what = what if what in ("parts", "receipts", "snapshots") else "other"
            found[kind, what] += path.stat().st_size
    return found


def share(found, *kinds):
    """Bytes about vectors over bytes of embedding parts, of these kinds of artifacts."""
    about = sum(n for (kind, what), n in found.items() if kind in kinds and what != "parts")
    return about / found["embeddings", "parts"]


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=100_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reelvec-bookkeeping-") as folder:
        found = counted(write(Path(folder), videos=options.videos))
    print(f"{options.videos:,} videos, a caption each, {NUMBERS} float32 numbers")
    print("| artifact | files | MB | of the vectors |\n| --- | --- | --- | --- |")
    for (kind, what), size in sorted(found.items()):
        share_of = size / found["embeddings", "parts"]
        print(f"| {kind} | {what} | {size / 1e6:.2f} | {share_of:.2%} |")
    for kinds in (("embeddings",), ("embeddings", "frames")):
        print(
            f"bookkeeping of {' and '.join(kinds)}: {share(found, *kinds):.2%} (goal: {GOAL:.0%})"
        )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
