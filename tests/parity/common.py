"""What the parity harness's parts share: a golden file, a line of the table, the tolerances."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open

from reelvec.models.conversion.names import our_names
from reelvec.models.conversion.weights import architecture_of, load_checkpoint
from reelvec.models.registry import build, family_class

FP64 = 1e-9
"""float64 against the golden's float64, on logits."""
FP32_COSINE = 1e-6
"""float32 on cosine, logit / exp(logit_scale)."""
ROUNDING = 4
"""Times the file's own float32-float64 distance that is allowed in float32, where that is more."""
EXTRA_INPUTS = {"policy_video": "policy_frames", "gumbel": "noise"}
"""Inputs beyond texts, frames and mask: a golden's name -> encode_video's."""
RELEASED = {
    "teachclip": {"weight_mask": "legacy"},
    "drl": {"pair_mask": "legacy"},
    "ts2net": {"mask_layout": "legacy"},
}
"""What a file without both forms holds: the originals' defects."""
TAUGHT = ("teacher_sim", "teacher_frame_weights")
"""What a student's loss is given beside its batch."""
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True)
class Line:
    """One row of the table; `ok` is None where no family is there to be checked."""

    case: str
    dtype: str
    ok: bool | None
    logits: float | None = None
    cosine: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Golden:
    """One golden file: everything is read from it, nothing assumed."""

    name: str
    metadata: dict[str, str]
    tensors: dict[str, torch.Tensor] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Golden":
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return cls(path.stem, dict(file.metadata() or {}), tensors)

    def json(self, key, default=None):
        """Structured metadata; `default` where it is absent or plain text."""
        try:
            return json.loads(self.metadata[key])
        except (KeyError, json.JSONDecodeError):
            return default

    def group(self, prefix):
        """Tensors below a prefix, by the rest of their names."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def model(self, dtype, *, family=None, **more_options):
        """The model named by the metadata, with the file's weights, in `dtype`.

        Of another `family` with the weights that it has: towers and header.
        """
        family = family or self.metadata["family"]
        settings = family_class(family).original_settings(self.json("options", {}))
        state = our_names(self.group("state/"))
        head_dim = self.json("head_dim") or self.json("sizes", {}).get("head_dim", 64)
        model = build(
            family,
            options={**settings.options, **more_options},
            architecture=architecture_of(state, head_dim=head_dim),
            max_words=settings.max_words,
            max_frames=settings.max_frames,
        )
        if family != self.metadata["family"]:
            state = {key: x for key, x in state.items() if key in model.state_dict()}
        load_checkpoint(model, state)
        return model.to(dtype)

    def extra_inputs(self, dtype):
        """Inputs beyond texts, frames and mask, under the names encode_video has for them."""
        known = {"text_ids", "text_mask", "video", "video_mask", *TAUGHT}
        inputs = self.group("input/")
        if "selection_noise" in inputs:  # of the frames of all videos, one after the other
            noise = inputs["selection_noise"]
            inputs["selection_noise"] = noise.view(*inputs["video"].shape[:-3], *noise.shape[-2:])
        return {
            EXTRA_INPUTS.get(name, name): tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in inputs.items()
            if name not in known
        }


def distance(a, b):
    """Largest absolute difference; infinite where only one is NaN or shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    if not a.numel():
        return 0.0
    apart = (a.double() - b.double()).abs()
    worst = apart.masked_fill(a.isnan() & b.isnan(), 0.0).max().item()
    return float("inf") if math.isnan(worst) else worst
