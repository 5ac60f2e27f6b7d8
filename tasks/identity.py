"""Identities: the settings that decide an artifact's rows; their fingerprint names its folder.

Only what changes results is in here. Where a run's shards are worked on, how many processes train
and where the store lies are not: two runs that agree on the rest share their artifacts.
A recipe number is raised when code changes what the same settings give.
"""

from __future__ import annotations

from typing import Any

from reelvec.configs.corpora import anchored
from reelvec.configs.schema import ExtractConfig, PipelineConfig

__all__ = [
    "CORPUS_RECIPE",
    "EMBEDDING_RECIPE",
    "FRAMES_RECIPE",
    "corpus_identity",
    "embeddings_identity",
    "frames_identity",
]

CORPUS_RECIPE = 1
FRAMES_RECIPE = 1
EMBEDDING_RECIPE = 1

_FRAME_KEYS = {"sampling", "size", "resize", "damaged", "format", "payload"}


def corpus_identity(config: PipelineConfig) -> dict[str, Any]:
    """Identity of a corpus: its settings with absolute paths; not its contents, which grow."""
    settings = anchored(config.corpus).model_dump(mode="json")
    return {"kind": "corpus", "recipe": CORPUS_RECIPE, "settings": settings}


def frames_identity(extract: ExtractConfig) -> dict[str, Any]:
    """Identity of frames: which of a clip, in what form. No corpus: equal bytes are decoded once.

    The decoder is not in it: all of them give the same frames, or are not used for that file. Nor
    is the default seed, so that frames made before there was a choice are found.
    """
    settings = extract.model_dump(mode="json", include=_FRAME_KEYS)
    if not extract.sampling.seed:
        del settings["sampling"]["seed"]
    return {"kind": "frames", "recipe": FRAMES_RECIPE, "settings": settings}


def embeddings_identity(
    config: PipelineConfig, *, weights_hash: str, corpus: str, frames: str
) -> dict[str, Any]:
    """Identity of embeddings: weights by hash (never by name), input selection, precision.

    Args:
        config: the run.
        weights_hash: of the model's tensors, storage.weights.checkpoints.weights_hash.
        corpus: fingerprint of the corpus artifact.
        frames: fingerprint of the frames artifact.
    """
    model = config.model.model_dump(mode="json", exclude={"weights", "architecture"})
    return {
        "kind": "embeddings",
        "recipe": EMBEDDING_RECIPE,
        "weights": weights_hash,
        "model": model,
        "dtype": config.embed.dtype,
        "corpus": corpus,
        "frames": frames,
    }
