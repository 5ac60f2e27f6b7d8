"""Load CLIP tensors strictly: a missing, unexpected or misshaped tensor is an error."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from reelvec.models.clip.vision import conv2_from_conv1
from reelvec.models.errors import WeightsError

__all__ = ["ARCHIVE_SCALARS", "is_half", "legacy_fp16", "load_strictly"]

ARCHIVE_SCALARS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Numbers OpenAI's archives carry beside the weights; the shapes say the same."""

_HALF = re.compile(r"(^|\.)(conv[12]\.|attn\.|mlp\.|text_projection$|proj$)")


@torch.no_grad()
def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    ignored: Collection[str] = ARCHIVE_SCALARS,
    derive_conv2: bool = False,
    lent: bool = False,
    remedy: str = "Build the model with the options and sizes these weights were trained with",
) -> None:
    """Copy `state` into `module`, each tensor cast to the module's type.

    Args:
        module: towers or a whole model; untouched if the state does not fit.
        state: tensors by the module's own keys.
        ignored: last parts of keys that may stand in the state without a place to go.
        derive_conv2: a missing `visual.conv2.weight` of a 3d model starts from conv1.
        lent: nothing is copied that has the module's type already: the module then refers to the
            state's own tensors, for who reads its numbers once and lets go of both.
        remedy: what an error ends with.

    Raises:
        WeightsError: missing, unexpected or misshaped tensors, all of them named.
    """
    own = module.state_dict()
    given = {_modern(k): v for k, v in state.items() if k.rpartition(".")[2] not in ignored}
    if derive_conv2:
        _derive_conv2(given, own)
    problems = [f"missing {key} {tuple(own[key].shape)}" for key in own if key not in given]
    problems += [f"unexpected {key} {tuple(given[key].shape)}" for key in given if key not in own]
    problems += [
        f"{key} is {tuple(given[key].shape)} but the model's is {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:12]) + (
            f"; and {len(problems) - 12} more" if problems[12:] else ""
        )
        raise WeightsError(f"{len(problems)} tensors do not fit the model: {shown}. {remedy}")
    if lent:
        _refer(module, {key: given[key] for key in own})
        return
    for key, tensor in own.items():
        tensor.copy_(given[key])


def _refer(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    """Have the module's parameters and buffers be these tensors."""
    places = dict(module.named_parameters(remove_duplicate=False)) | dict(
        module.named_buffers(remove_duplicate=False)
    )
    for key, tensor in given.items():
        places[key].data = tensor.to(places[key].dtype).contiguous()


def is_half(key: str) -> bool:
    """Whether the originals keep this `clip.*` tensor in fp16 (specs/xclip-adaclip.md A1.6).

    Convolutions, attention, MLPs and both projections; not norms, embeddings and logit_scale.
    """
    return _HALF.search(key.removeprefix("clip.")) is not None


@torch.no_grad()
def legacy_fp16(clip: nn.Module) -> None:
    """Cast a CLIP's tensors as the originals train them: fp16 where `is_half`, fp32 elsewhere."""
    for key, parameter in clip.named_parameters():
        parameter.data = parameter.data.to(torch.float16 if is_half(key) else torch.float32)


def _derive_conv2(given: dict[str, Tensor], own: Collection[str]) -> None:
    for prefix in ("", "clip."):
        still, moving = f"{prefix}visual.conv1.weight", f"{prefix}visual.conv2.weight"
        if moving in own and moving not in given and still in given:
            given[moving] = conv2_from_conv1(given[still])


def _modern(key: str) -> str:
    """`gamma` and `beta` of old checkpoints are weight and bias.

    Source: specs/clip4clip-clip2video.md 7.3.
    """
    return key.replace("gamma", "weight").replace("beta", "bias")
