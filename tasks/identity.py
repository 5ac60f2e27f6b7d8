"""Identities: the settings that decide an artifact's rows; their fingerprint names its folder.

Only what changes results is in here. Where a run's shards are worked on, how many processes train
and where the store lies are not: two runs that agree on the rest share their artifacts.
A recipe number is raised when code changes what the same settings give. Rounding does not count:
another device or machine may change the last bits, and so does the size of a batch on a GPU.
tests/tasks/test_identity_table.py says of each field which identities it changes.
"""

from __future__ import annotations

from typing import Any

from reelvec.configs.corpora import anchored
from reelvec.configs.schema import (
    EmbedConfig,
    EvaluateConfig,
    ExtractConfig,
    ModelConfig,
    PipelineConfig,
)

__all__ = [
    "AUDIO_RECIPE",
    "CORPUS_RECIPE",
    "EMBEDDING_RECIPE",
    "EVALUATION_RECIPE",
    "FRAMES_RECIPE",
    "audio_identity",
    "corpus_identity",
    "embeddings_identity",
    "evaluation_identity",
    "frames_identity",
    "model_settings",
    "rows_see_each_other",
]

AUDIO_RECIPE = 1
CORPUS_RECIPE = 1
FRAMES_RECIPE = 1
EMBEDDING_RECIPE = 1
EVALUATION_RECIPE = 1
_WINDOWS_RECIPE = 1

_FRAME_KEYS = {"sampling", "size", "resize", "damaged", "format", "payload"}
_LATER_FRAME_KEYS = {"fit", "interpolation"}
"""Named where they are not as every frame was made before there was a choice."""
_STARTS = frozenset({"weights", "policy_weights"})
"""Names of files: what they hold is named by hash."""
_OF_TRAINING = frozenset({"train_frame_draw", "train_frame_order"})
"""What vectors know by the hash of the weights alone."""
_LATER = frozenset({"train_frame_draw", "train_frame_order", "eval_frame_order"})
"""Options younger than stores: named where they are not as everything was made before."""
_UNNAMED_BATCHES = {"batch_size": 16, "shard_rows": 512}
"""Batches that identities do not name; written in stores, whatever becomes of the defaults."""


def corpus_identity(config: PipelineConfig) -> dict[str, Any]:
    """Identity of a corpus: its settings with absolute paths; not its contents, which grow.

    Nor its windows, which are rows of the embeddings alone.
    """
    settings = anchored(config.corpus).model_dump(mode="json", exclude={"windows"})
    return {"kind": "corpus", "recipe": CORPUS_RECIPE, "settings": settings}


def frames_identity(extract: ExtractConfig) -> dict[str, Any]:
    """Identity of frames: which of a clip, in what form. No corpus: equal bytes are decoded once.

    The decoder is not in it: all of them give the same frames, or are not used for that file. But
    they stop at other places of a damaged file, so a decoder named to salvage with is. Nor are the
    default seed, fit and interpolation, so that frames made before there was a choice are found.
    """
    settings = extract.model_dump(mode="json", include=_FRAME_KEYS)
    settings |= extract.model_dump(mode="json", include=_LATER_FRAME_KEYS, exclude_defaults=True)
    if not extract.sampling.seed:
        del settings["sampling"]["seed"]
    if extract.damaged == "salvage" and extract.decoder != "auto":
        settings["decoder"] = extract.decoder
    return {"kind": "frames", "recipe": FRAMES_RECIPE, "settings": settings}


def audio_identity(extract: ExtractConfig) -> dict[str, Any]:
    """Identity of sound: in what form. No corpus: equal bytes are decoded once."""
    form = extract.sound.model_dump(mode="json")
    settings = {"form": form, "damaged": extract.damaged}
    return {"kind": "audio", "recipe": AUDIO_RECIPE, "settings": settings}


def embeddings_identity(
    config: PipelineConfig, *, weights_hash: str, corpus: str, frames: str, audio: str = ""
) -> dict[str, Any]:
    """Identity of embeddings: weights by hash (never by name), input selection, precision.

    Args:
        config: the run.
        weights_hash: of the model's tensors, storage.weights.checkpoints.weights_hash.
        corpus: fingerprint of the corpus artifact.
        frames: fingerprint of the frames artifact.
        audio: fingerprint of the audio artifact; "": the model hears nothing.
    """
    model = model_settings(config.model, left_out=_OF_TRAINING | {"architecture"})
    identity = {
        "kind": "embeddings",
        "recipe": EMBEDDING_RECIPE,
        "weights": weights_hash,
        "model": model,
        "dtype": config.embed.dtype,
        "corpus": corpus,
        "frames": frames,
    }
    if audio:
        identity["audio"] = audio
    if config.corpus.windows is not None:
        identity["windows"] = {
            "recipe": _WINDOWS_RECIPE,
            **config.corpus.windows.model_dump(mode="json"),
        }
    if config.embed.precision != "fp32":  # younger than stores
        identity["precision"] = config.embed.precision
    batches = _batches(config.embed)
    if batches and rows_see_each_other(config.model):
        identity["batches"] = batches
    return identity


def evaluation_identity(options: EvaluateConfig, *, embeddings: str) -> dict[str, Any]:
    """Which metrics of these embeddings (a fingerprint).

    `options.block` is how, not what, and is left out; so are rivals that are the default, so that
    evaluations made before there was a choice are found.
    """
    left_out = {"block"} if options.rivals != "videos" else {"block", "rivals"}
    return {
        "kind": "evaluation",
        "recipe": EVALUATION_RECIPE,
        "embeddings": embeddings,
        "options": options.model_dump(mode="json", exclude=left_out),
    }


def model_settings(model: ModelConfig, *, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What identities and checkpoints say of a model: its fields, but the names of files.

    Args:
        model: of the run.
        left_out: further fields.
    """
    settings = model.model_dump(mode="json", exclude=set(_STARTS | left_out))
    plain = ModelConfig().model_dump(mode="json", include=set(_LATER))
    return {name: x for name, x in settings.items() if (name, x) not in plain.items()}


def _batches(embed: EmbedConfig) -> dict[str, int]:
    """What decides which rows are encoded together, where it is not as identities assume."""
    given = embed.model_dump(include=set(_UNNAMED_BATCHES))
    return {name: size for name, size in given.items() if size != _UNNAMED_BATCHES[name]}


def rows_see_each_other(model: ModelConfig) -> bool:
    """Whether a row's numbers depend on the rows it is encoded with: under the legacy masks."""
    from reelvec.models.registry import validate_options

    options = validate_options(model.family, model.options)
    return options.sees_batch(training=False)
