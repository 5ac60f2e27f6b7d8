"""A small store with a corpus, frames and embeddings, made by hand: no video, no model."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import FolderCorpus
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import Corpus, key_of, read_corpus

WIDTH = 8


@dataclass
class Store:
    """Pinned snapshots, and the vectors behind them by id."""

    config: PipelineConfig
    corpus: Corpus
    frames: Snapshot
    embeddings: Snapshot
    videos: dict[str, np.ndarray]
    captions: dict[str, np.ndarray]

    @property
    def session(self):
        """A fresh one: it has read nothing yet."""
        return Session(self.config)

    @property
    def root(self):
        return open_root(self.config.store)


def unit(rng, count):
    rows = rng.standard_normal((count, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def video(number, *, split="test", status="ok", reason="", message=""):
    return Video(
        video_id=f"v{number:03d}",
        path=f"/videos/v{number:03d}.mp4",
        split=split,
        content_hash=f"{number:032x}" if reason != "missing" else "",
        status=status,
        reason=reason,
        message=message,
        duration_seconds_from_header=2.0,
        frames_counted=16,
    )


def plain_videos(count=12, *, quarantined=(), train=4):
    """`train` of split train, the rest test; quarantined ones failed at extraction."""
    return [video(i, split="train" if i < train else "test") for i in range(count)]


def plain_captions(videos, *, each=1, subset_of=lambda n: ""):
    return [
        Caption(f"{v.video_id}-{n}", v.video_id, f"caption {n} of {v.video_id}", subset_of(i))
        for i, v in enumerate(videos)
        for n in range(each)
    ]


def commit(artifact, tables, *, supersede=None):
    """One part for each (table, rows, outcomes, shard)."""
    receipts = []
    for name, rows, outcomes, shard in tables:
        with artifact.new_part(table=name, shard=shard, suffix=".parquet") as part:
            write_table(part.path, rows, metadata=identity_metadata(artifact.identity))
            receipts.append(part.commit(rows=rows.num_rows, outcomes=outcomes))
    return artifact.publish(add=receipts, supersede=supersede or {})


def make_store(
    folder,
    *,
    videos,
    captions,
    failed=None,
    seed=0,
    parts=1,
    dtype=np.float32,
    size=32,
    store=None,
):
    """Every stage before evaluate, faked.

    Args:
        videos, captions: the corpus.
        failed: video_id -> Outcome for videos that were quarantined or salvaged at extraction.
        parts: how many parts the embedding tables are cut into.
        store: where it is; None: in the folder.
    """
    failed = failed or {}
    config = PipelineConfig(
        name="fake", store=store or str(folder / "store"), corpus=FolderCorpus(videos=str(folder))
    )
    corpus = _corpus(config, videos, captions)
    frames = _frames(config, videos, failed, seed=seed, size=size)
    rng = np.random.default_rng(seed)
    outcome = {
        v.video_id: Outcome(v.video_id, v.status, v.reason, v.message)
        if v.status == "quarantined"
        else replace(failed[v.video_id], key=v.video_id)
        if v.video_id in failed
        else Outcome(v.video_id)
        for v in videos
    }
    vectors = dict(zip([v.video_id for v in videos], unit(rng, len(videos)), strict=True))
    noise = unit(rng, len(captions))
    texts = {}
    for caption, wobble in zip(captions, noise, strict=True):
        mixed = vectors[caption.video_id] + 0.7 * wobble
        texts[caption.caption_id] = mixed / np.linalg.norm(mixed)
    store = Store(config, corpus, frames, None, vectors, texts)
    artifact = Artifact.open(
        store.root,
        kind="embeddings",
        identity={"kind": "embeddings", "seed": seed, "weights": "ab" * 16},
    )
    store.embeddings = commit(
        artifact, _embedding_parts(videos, captions, outcome, store, parts, dtype)
    )
    return store


def _embedding_parts(videos, captions, outcome, store, parts, dtype):
    splits = {v.video_id: v.split for v in videos}
    made = []
    for p in range(parts):
        some = videos[p::parts]
        rows = [v for v in some if outcome[v.video_id].status != "quarantined"]
        made.append(
            (
                "videos",
                pa.table(
                    {
                        "video_id": pa.array([v.video_id for v in rows], pa.string()),
                        "content_hash": pa.array([v.content_hash for v in rows], pa.string()),
                        "clip_key": pa.array([key_of(v) for v in rows], pa.string()),
                        "split": pa.array([v.split for v in rows], pa.string()),
                        "outcome": pa.array(
                            [outcome[v.video_id].status for v in rows], pa.string()
                        ),
                        "frames": pa.array([4] * len(rows), pa.int32()),
                        "embedding": column([store.videos[v.video_id] for v in rows], dtype),
                    }
                ),
                [outcome[v.video_id] for v in some],
                f"p{p}",
            )
        )
        mine = captions[p::parts]
        made.append(
            (
                "captions",
                pa.table(
                    {
                        "caption_id": pa.array([c.caption_id for c in mine], pa.string()),
                        "video_id": pa.array([c.video_id for c in mine], pa.string()),
                        "split": pa.array([splits[c.video_id] for c in mine], pa.string()),
                        "subset": pa.array([c.subset for c in mine], pa.string()),
                        "text": pa.array([c.text for c in mine], pa.string()),
                        "embedding": column([store.captions[c.caption_id] for c in mine], dtype),
                    }
                ),
                [Outcome(c.caption_id) for c in mine],
                f"p{p}",
            )
        )
    return made


def column(vectors, dtype):
    flat = np.array(vectors, dtype=dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), WIDTH)


def _corpus(config, videos, captions):
    session = Session(config)
    artifact = session.corpus
    commit(
        artifact,
        [
            (
                "videos",
                records_to_table(videos, schema=VIDEO_SCHEMA),
                [Outcome(v.video_id, v.status, v.reason, v.message) for v in videos],
                "all",
            ),
            (
                "captions",
                records_to_table(captions, schema=CAPTION_SCHEMA),
                [Outcome(c.caption_id) for c in captions],
                "all",
            ),
        ],
    )
    return read_corpus(session)


def _frames(config, videos, failed, *, seed, size):
    artifact = Session(config).frames
    rng = np.random.default_rng(seed)
    outcomes = []
    with artifact.new_part(table="frames", shard="all", suffix=".arrow") as part:
        with open_writer(part.path, format="arrow", payload="raw", size=size) as writer:
            for v in videos:
                if v.status == "quarantined":
                    continue
                outcome = replace(failed.get(v.video_id, Outcome("")), key=key_of(v))
                outcomes.append(outcome)
                if outcome.status != "quarantined":
                    writer.add(
                        ClipFrames(
                            clip_key=key_of(v),
                            frames=_picture(rng, size),
                            pts_seconds=np.arange(4) * 0.5,
                            frame_index=np.arange(4) * 4,
                        )
                    )
        usable = sum(row.status != "quarantined" for row in outcomes)
        receipt = part.commit(rows=usable, outcomes=outcomes)
    return artifact.publish(add=[receipt])


def _picture(rng, size):
    """Four frames of a square that moves."""
    frames = np.zeros((4, size, size, 3), np.uint8) + rng.integers(0, 90, 3).astype(np.uint8)
    at, colour, side = rng.integers(0, size // 2, 2), rng.integers(120, 255, 3), size // 4
    for i in range(4):
        x = (at[0] + i * size // 10) % (size - side)
        frames[i, at[1] : at[1] + side, x : x + side] = colour
    return frames
