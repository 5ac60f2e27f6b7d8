"""Tiny PE-core checkpoints, with the weights of tests/resources/perception_golden.py."""

import json
import re
import zlib
from functools import cache

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.resources import RESOURCES

LABELS = ("class-token", "no-class-token")


def drawn(key, shape):
    """A tensor from its own name; numpy keeps RandomState's numbers for good.

    Large enough that every part of the model shows in features.
    """
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("logit_scale"):
        return torch.tensor(2.5)
    if re.search(r"(norm\w*|ln_\w+)\.weight$", key):
        values = 1 + 0.2 * values
    elif len(shape) >= 2 and not re.search(r"(embed\w*|embedding(\.weight)?|token|latent)$", key):
        values = 1.5 * values / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.3 * values
    return torch.from_numpy(values.astype(np.float32))


@cache
def golden(label):
    """Tensors of a golden, and what its metadata say: config, shapes, texts."""
    with safe_open(RESOURCES / f"perception-{label}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = {key: json.loads(value) for key, value in file.metadata().items()}
    return tensors, facts


@cache
def tensors_of(label):
    """The checkpoint's own tensors, by its own keys."""
    return {key: drawn(key, tuple(shape)) for key, shape in golden(label)[1]["shapes"].items()}


def save_checkpoint(folder, label, *, tensors=None, config=None):
    """A folder as OpenCLIP publishes them; gives it back."""
    found = tensors_of(label) if tensors is None else tensors
    said = golden(label)[1]["config"] if config is None else config
    save_file(found, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    return folder
