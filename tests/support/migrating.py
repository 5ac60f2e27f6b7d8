"""A store with one run over a few drawn videos, and weights of other models for it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.configs.schema import STAGES
from reelvec.flows.alone import run_alone
from reelvec.models.clip.architecture import architecture
from reelvec.models.registry import ZERO_SHOT
from reelvec.models.registry import build as build_model
from reelvec.storage.weights.checkpoints import WEIGHTS, save_checkpoint
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.recording import last_config
from tests.drills.bitflips import config_of, draw

WIDE = {"max_recall_drop": 100.0, "min_overlap": 0.0}
"""A gate that any sound table passes: these models know nothing."""


@dataclass(frozen=True)
class Ground:
    """Where everything is."""

    store: str
    config: PipelineConfig
    weights: Path
    """Of another model than the run's."""
    list_videos: object
    """Has the first so many videos alone in their folder, with captions."""


def save_weights(path, *, seed):
    """A tiny model with random numbers, as a weights file."""
    torch.manual_seed(seed)
    model = build_model(
        ZERO_SHOT, options={}, architecture=architecture("tiny"), max_words=32, max_frames=2
    )
    tensors = {WEIGHTS + name: tensor for name, tensor in model.clip.state_dict().items()}
    save_checkpoint(path, tensors=tensors, metadata={})
    return path


def make_ground(folder, *, videos=6, gate=WIDE):
    """The run `base` over all videos but the last."""
    drawn, write = draw(folder, videos=videos)

    def list_videos(count):
        write(drawn[:count])
        for path in drawn[count:]:
            (folder / "videos" / Path(path).name).unlink(missing_ok=True)

    list_videos(videos - 1)
    old = save_weights(folder / "old.safetensors", seed=1)
    config = config_of(folder, folder / "store")
    config = PipelineConfig.model_validate(
        config.model_dump(mode="json")
        | {
            "name": "base",
            "model": {"family": ZERO_SHOT, "max_frames": 2, "weights": str(old)},
            "gate": dict(gate),
        }
    )
    run(Session(config), list(STAGES))
    new = save_weights(folder / "new.safetensors", seed=2)
    return Ground(config.store, config, new, list_videos)


def ground_in(folder):
    """The ground that another process made in this folder."""
    store = str(folder / "store")
    config = last_config(store)
    return Ground(store, config, folder / "new.safetensors", list_videos=None)


def run(session, stages):
    """Stages as the command line runs them without a server."""
    return run_alone(session, only=stages)


def copy_of(ground, folder):
    """The same store elsewhere."""
    return str(shutil.copytree(ground.store, folder / "copy"))


def seen(store, name=None):
    """What a reader sees: the run's name, and each video's vector, as bytes."""
    run = reelvec.open(store).run(name)
    ids, vectors = run.videos.numpy()
    return run.name, {key: np.asarray(row).tobytes() for key, row in zip(ids, vectors, strict=True)}
