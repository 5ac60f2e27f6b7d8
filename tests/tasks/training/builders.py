"""A store ready to be trained from: corpus and frames committed, and a model small enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import ModelConfig
from reelvec.models.clip.architecture import Architecture
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
from reelvec.storage.tables import write_table
from reelvec.storage.weights.checkpoints import WEIGHTS, save_checkpoint
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.starting import build_sized

SIZE = 16
FRAMES = 3
MAX_WORDS = 12
SMALL = Architecture(
    embed_dim=64,
    image_size=SIZE,
    vision_layers=1,
    vision_width=64,
    patch_size=8,
    text_width=64,
    text_layers=1,
)
WORDS = ("red", "blue", "green", "square", "circle", "star", "left", "right", "up", "down")


def small_model(header="meanP", seed=3):
    torch.manual_seed(seed)
    return build_sized(model_config(header), sizes=SMALL)


def model_config(header="meanP", weights=None):
    options = {"sim_header": header}
    if header != "meanP":
        options["cross_num_hidden_layers"] = 1
    return ModelConfig(
        family="clip4clip", options=options, weights=weights, max_words=MAX_WORDS, max_frames=FRAMES
    )


def videos_and_captions(videos=16, captions=2):
    """Three of four videos train, one validates; captions of random words."""
    rng = np.random.default_rng(5)
    listed, said = [], []
    for index in range(videos):
        split = "val" if index % 4 == 3 else "train"
        name = f"v{index:02d}"
        listed.append(Video(name, f"/nowhere/{name}.mp4", split, content_hash=f"{index:032x}"))
        for number in range(captions):
            text = f"{' '.join(rng.choice(WORDS, 4))} number {index}"
            said.append(Caption(f"{name}#{number}", name, text))
    return listed, said


def make_store(folder: Path, *, header="meanP", videos=16, captions=2, **train) -> PipelineConfig:
    """A store below `folder` with a corpus and its frames; the config that trains on it."""
    weights = folder / f"start-{header}.safetensors"
    state = small_model(header).state_dict()
    save_checkpoint(weights, tensors={WEIGHTS + k: v for k, v in state.items()}, metadata={})
    config = make_config(folder, header=header, **train)
    listed, said = videos_and_captions(videos, captions)
    commit_corpus(config, listed, said)
    commit_frames(config, listed)
    return config


def make_config(folder: Path, *, header="meanP", store="store", **train) -> PipelineConfig:
    options = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "clip_rate_factor": 1.0,
        "device": "cpu",
        "threads": 1,
        "checkpoint_every": 2,
        **train,
    }
    weights = str(folder / f"start-{header}.safetensors")
    return PipelineConfig(
        store=str(folder / store),
        corpus={"kind": "folder", "videos": str(folder / "videos")},
        extract={"size": SIZE},
        model=model_config(header, weights).model_dump(),
        train=options,
    )


def commit_corpus(config, listed, said):
    artifact = Session(config).corpus
    before = artifact.latest()
    live = {t: list(before.live(t)) for t in ("videos", "captions")} if before else {}
    receipts = []
    for table, rows, schema in (
        ("videos", listed, VIDEO_SCHEMA),
        ("captions", said, CAPTION_SCHEMA),
    ):
        key = schema.names[0]
        with artifact.new_part(table=table, shard="all", suffix=".parquet") as part:
            write_table(part.path, records_to_table(rows, schema=schema), metadata={})
            outcomes = [
                Outcome(getattr(row, key), getattr(row, "status", "ok"), getattr(row, "reason", ""))
                for row in rows
            ]
            receipts.append(part.commit(rows=len(rows), outcomes=outcomes))
    return artifact.publish(add=receipts, supersede=live)


def commit_frames(config, listed):
    artifact = Session(config).frames
    before = artifact.latest()
    known = before.live("frames") if before else {}
    new = [video for video in listed if video.content_hash not in known]
    with artifact.new_part(table="frames", shard=f"n{len(known)}", suffix=".arrow") as part:
        with open_writer(part.path, format="arrow", payload="raw", size=SIZE) as writer:
            for video in new:
                writer.add(clip_frames(video.content_hash))
        receipt = part.commit(
            rows=len(new), outcomes=[Outcome(video.content_hash) for video in new]
        )
    return artifact.publish(add=[receipt])


def clip_frames(key: str) -> ClipFrames:
    """Two to five frames, a function of the key."""
    rng = np.random.default_rng(int(key, 16))
    count = 2 + int(key, 16) % 4
    return ClipFrames(
        clip_key=key,
        frames=rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8),
        pts_seconds=np.arange(count) / 4,
        frame_index=np.arange(count),
    )
