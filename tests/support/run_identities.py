"""The identities of a run's artifacts, computed from its config alone."""

from reelvec.configs import PipelineConfig
from reelvec.storage.layout import fingerprint
from reelvec.tasks.identity import (
    audio_identity,
    corpus_identity,
    embeddings_identity,
    evaluation_identity,
    frames_identity,
)
from reelvec.tasks.training.identity import Start, checkpoint_identity


def identities(config: PipelineConfig, *, start="auto", training_set="items", weights="weights"):
    """Kind -> identity; `weights` stands for the hash of the trained model's tensors.

    `start`: hash of the weights file; "auto": one that follows from its name, as each file has
    its own. So has the file of the policy's weights.
    """
    if start == "auto":
        start = _hash_of(config.model.weights)
    start = Start(weights=start, policy=_hash_of(config.model.policy_weights))
    corpus = corpus_identity(config)
    frames = frames_identity(config.extract)
    sources = {"corpus": fingerprint(corpus), "frames": fingerprint(frames)}
    teachers = [{"weights": f"hash of {name}"} for name in config.train.teachers]
    checkpoint = checkpoint_identity(
        config, start=start, training_set=training_set, teachers=teachers, **sources
    )
    heard = {"audio": audio_identity(config.extract)} if config.hears else {}
    embeddings = embeddings_identity(
        config, weights_hash=weights, **sources, **{k: fingerprint(x) for k, x in heard.items()}
    )
    evaluation = evaluation_identity(config.evaluate, embeddings=fingerprint(embeddings))
    return {
        "corpus": corpus,
        "frames": frames,
        **heard,
        "checkpoint": checkpoint,
        "embeddings": embeddings,
        "evaluation": evaluation,
    }


def _hash_of(name):
    return None if name is None else f"hash of {name}"


def fingerprints(config: PipelineConfig, **keywords):
    """Kind -> fingerprint: the name of the artifact's folder."""
    return {kind: fingerprint(found) for kind, found in identities(config, **keywords).items()}
