"""Makes the goldens of PE-core from the published implementation. Never imported by the tests.

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install torch==2.13.0 numpy safetensors \
        ftfy regex tqdm huggingface_hub pyyaml pillow
    /tmp/oracle/bin/pip install --no-deps timm==1.0.31 open_clip_torch==3.3.0
    /tmp/oracle/bin/python -m tests.resources.perception_golden

timm and OpenCLIP import torchvision for parts that PE-core does not use; a stand-in is enough.
`perception-*.safetensors`: images, texts, token ids and features of tiny models of the published
architecture, with OpenCLIP's configuration, keys and shapes as metadata. Weights are not in there:
both sides draw them from the keys (`drawn` of tests/models/frozen/perception_checkpoints.py).
`perception-keys.json`: keys and shapes of the five published sizes, built on the meta device.
"""

import importlib.abc
import importlib.machinery
import json
import re
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tests.models.frozen.perception_checkpoints import drawn

HERE = Path(__file__).parent
TINY = {
    "class-token": {
        "name": "vit_pe_core_tiny_patch16_384",
        "trunk": {"img_size": 20, "patch_size": 4, "embed_dim": 24, "depth": 2},
        "embed_dim": 20,
        "text": {"context_length": 32, "width": 16, "heads": 2, "layers": 2},
        "mean": [0.5, 0.4, 0.3],
        "std": [0.5, 0.25, 0.2],
    },
    "no-class-token": {
        "name": "vit_pe_core_gigantic_patch14_448",
        "trunk": {"img_size": 12, "patch_size": 3, "embed_dim": 64, "depth": 2},
        "embed_dim": 24,
        "text": {"context_length": 72, "width": 32, "heads": 4, "layers": 2},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    },
}
PUBLISHED = (
    "PE-Core-T-16-384",
    "PE-Core-S-16-384",
    "PE-Core-B-16",
    "PE-Core-L-14-336",
    "PE-Core-bigG-14-448",
)
INTERPOLATIONS = ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")
TEXTS = (
    "A red circle moves left",
    "the blue square",
    "",
    "naïve café &amp; 東京 — 100% isn't it?!  two   spaces",
    " ".join(["one long caption that no context length holds"] * 12),
)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Any module of torchvision, with any name in it."""

    def find_spec(self, name, path=None, target=None):
        ours = name.split(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec):
        class Anything(types.ModuleType):
            def __getattr__(self, key):
                if key.startswith("__"):
                    raise AttributeError(key)
                return type(key, (torch.nn.Module,), {name: name for name in INTERPOLATIONS})

        return Anything(spec.name)

    def exec_module(self, module):
        module.__version__ = "0.0"


def tiny_model(variant):
    """The published classes at small sizes, and OpenCLIP's configuration of it."""
    import open_clip.timm_model
    from open_clip.model import CustomTextCLIP

    create = open_clip.timm_model.timm.create_model

    def smaller(name, **options):
        return create(name, **options, **variant["trunk"])

    model_config = {
        "embed_dim": variant["embed_dim"],
        "vision_cfg": {
            "image_size": variant["trunk"]["img_size"],
            "timm_model_name": variant["name"],
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": None,
        },
        "text_cfg": {"vocab_size": 49408, **variant["text"]},
    }
    open_clip.timm_model.timm.create_model = smaller
    try:
        model = CustomTextCLIP(**model_config).eval()
    finally:
        open_clip.timm_model.timm.create_model = create
    preprocessing = {
        "mean": variant["mean"],
        "std": variant["std"],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    whole = {**model_config, "custom_text": True}
    return model, {"model_cfg": whole, "preprocess_cfg": preprocessing}


@torch.no_grad()
def make_tiny(label, variant):
    from open_clip.tokenizer import SimpleTokenizer

    model, config = tiny_model(variant)
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    model.load_state_dict({key: drawn(key, tuple(shape)) for key, shape in shapes.items()})
    side = variant["trunk"]["img_size"]
    rng = np.random.RandomState(0)
    pixels = torch.from_numpy(rng.randint(0, 256, (4, side, side, 3)).astype(np.uint8))
    mean, std = (torch.tensor(variant[name])[:, None, None] for name in ("mean", "std"))
    shown = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    tokens = SimpleTokenizer(context_length=variant["text"]["context_length"])(list(TEXTS))
    tensors = {
        "pixels": pixels,
        "tokens": tokens,
        "image_features": model.encode_image(shown),
        "text_features": model.encode_text(tokens),
    }
    facts = {"config": config, "shapes": shapes, "texts": TEXTS}
    path = HERE / f"perception-{label}.safetensors"
    save_file(tensors, path, metadata={name: json.dumps(fact) for name, fact in facts.items()})


def make_keys():
    """Per published model: its configuration, and every shape with the keys it has."""
    import open_clip
    from open_clip.model import CustomTextCLIP

    found = {}
    for name in PUBLISHED:
        config = open_clip.get_model_config(name)
        options = {key: value for key, value in config.items() if key != "custom_text"}
        with torch.device("meta"):
            state = CustomTextCLIP(**options).state_dict()
        folded = Counter(
            (re.sub(r"\.\d+\.", ".*.", key), tuple(tensor.shape)) for key, tensor in state.items()
        )
        tensors = [[key, list(shape), count] for (key, shape), count in folded.items()]
        found[name] = {"config": config, "tensors": tensors}
    lines = [
        f"{json.dumps(name)}: "
        + json.dumps({"config": model["config"]})[:-1]
        + ', "tensors": [\n'
        + ",\n".join(json.dumps(row) for row in model["tensors"])
        + "]}"
        for name, model in found.items()
    ]
    (HERE / "perception-keys.json").write_text("{" + ",\n".join(lines) + "}\n")


def main():
    sys.meta_path.insert(0, Finder())
    for label, variant in TINY.items():
        make_tiny(label, variant)
    make_keys()


if __name__ == "__main__":
    main()
