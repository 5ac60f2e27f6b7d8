"""Weights from and to the originals' files: which sizes, which tensors go where.

A model's `state_dict()` has the originals' keys already, so what remains is telling archives from
checkpoints, filling what a checkpoint does not hold, and casting. Files are read by
`storage.weights.checkpoints`; here are only tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.adaclip.model import AdaClip
from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.weights import ARCHIVE_SCALARS, is_half, legacy_fp16, load_strictly
from reelvec.models.conversion.names import our_names, transformers_names
from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.family import ClipFamily, RetrievalModel
from reelvec.models.features import HEARD
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.kinds import adopted, build_frozen, check_version, own_input_of
from reelvec.models.registry import ZERO_SHOT, build, validate_options
from reelvec.models.tokens.shift import SHIFTED

__all__ = [
    "Layout",
    "architecture_of",
    "build_for",
    "check_packages",
    "export_checkpoint",
    "export_clip",
    "input_of",
    "layout_of",
    "load_checkpoint",
    "start",
    "start_policy",
    "to_legacy_fp16",
]

Layout = Literal["archive", "checkpoint", "pretrained"]
"""archive: an OpenAI CLIP, keys without prefix; checkpoint: one of the four systems, `clip.*`;
pretrained: an encoder of Hugging Face's or OpenCLIP's layout, `encoder.*` and `files`."""


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """Whether tensors are a CLIP archive's, a retrieval checkpoint's or Hugging Face's.

    Raises:
        WeightsError: none of them.
    """
    if "clip.visual.proj" in state:
        return "checkpoint"
    if "visual.proj" in state:
        return "archive"
    if "files" in state and any(key.startswith("encoder.") for key in state):
        return "pretrained"
    if any("vision_model." in key for key in state):
        raise WeightsError(
            "these are transformers' names, of no CLIP as OpenAI made it: give the folder the file"
            " is from, hf:FOLDER, whose configuration says what they mean"
        )
    raise WeightsError(
        f"neither `visual.proj` nor `clip.visual.proj` among {len(state)} tensors "
        f"({', '.join(sorted(state)[:3])}, …): give an OpenAI ViT archive or a checkpoint of "
        "CLIP4Clip, CLIP2Video, X-CLIP or AdaCLIP"
    )


def clip_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The CLIP tensors of an archive or a checkpoint, by OpenAI's keys, scalars left out."""
    prefix = "clip." if layout_of(state) == "checkpoint" else ""
    return {
        key.removeprefix(prefix).replace(SHIFTED, ".attn."): tensor
        for key, tensor in state.items()
        if key.startswith(prefix) and key.rpartition(".")[2] not in ARCHIVE_SCALARS
    }


def architecture_of(state: Mapping[str, Tensor], *, head_dim: int | None = None) -> Architecture:
    """Tower sizes from the shapes of an archive or a checkpoint.

    Raises:
        WeightsError: no vision transformer, or not all of it.
    """
    return Architecture.from_state(clip_tensors(state), head_dim=head_dim)


def input_of(state: Mapping[str, Tensor]) -> OwnInput:
    """The frames these weights were made for.

    Raises:
        WeightsError: tensors of no layout we know.
    """
    if layout_of(state) == "pretrained":
        return own_input_of(state["files"])
    return OwnInput(FrameForm(size=architecture_of(state).image_size))


def check_packages(state: Mapping[str, Tensor], *, max_frames: int) -> None:
    """Refuse a checkpoint hf:… whose package is not installed, or too old, or other frames.

    Raises:
        OptionsError: names the package, its version, and how to install it; or the frames.
    """
    check_version(state["files"])
    count = own_input_of(state["files"]).frame_count
    if count is not None:
        count.check_asked(max_frames)


def build_for(
    state: Mapping[str, Tensor],
    *,
    family: str,
    options: Mapping[str, Any],
    max_words: int,
    max_frames: int,
) -> RetrievalModel:
    """A model of a family, of the sizes of these tensors, with random weights.

    Raises:
        OptionsError: unknown family or options, or a family that cannot use such tensors.
        WeightsError: tensors of no layout we know.
    """
    if layout_of(state) != "pretrained":
        return build(
            family,
            options=options,
            architecture=architecture_of(state),
            max_words=max_words,
            max_frames=max_frames,
        )
    checked = validate_options(family, options)
    if family != ZERO_SHOT:
        raise OptionsError(
            f"weights hf:… are a dual encoder that is used as it is: set model.family to "
            f"{ZERO_SHOT}, not {family}"
        )
    return build_frozen(
        state, options=FrozenOptions.model_validate(checked.model_dump()), max_frames=max_frames
    )


def load_checkpoint(model: RetrievalModel, state: Mapping[str, Tensor]) -> None:
    """Every tensor of a checkpoint into the model, cast to the model's types.

    Raises:
        WeightsError: missing, unexpected or misshaped tensors, named; the model is untouched.
    """
    load_strictly(model, _used(model, state))


def _used(model: RetrievalModel, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`state` without the tensors of modules that idle in this variant of the model."""
    idle = tuple(f"{name}." for name in model.idle_modules)
    return {key: x for key, x in state.items() if not f"{key}.".startswith(idle)}


def start(model: RetrievalModel, state: Mapping[str, Tensor], *, lent: bool = False) -> None:
    """Start training or embedding from an archive or a checkpoint.

    An archive, or a checkpoint that holds nothing but `clip.*`, fills the towers, and the family's
    new parameters start from CLIP tensors (specs/clip4clip-clip2video.md 7.2). A checkpoint with
    any parameter beside `clip.*` must hold them all: the originals' gates are all or nothing too.
    A 3d patch that is missing starts from conv1.

    Args:
        model: in fp32 on the CPU.
        state: of the file.
        lent: as of `load_strictly`.

    Raises:
        WeightsError: tensors that do not fit.
    """
    layout = layout_of(state)
    if layout == "archive":
        model.init_from_clip(state, lent=lent)
        return
    if layout == "pretrained":
        hears = not model.video_columns.keys().isdisjoint(HEARD)
        taken = adopted(state, hears=hears)
        load_strictly(model, _without_places(taken, model=model), ignored=(), lent=lent)
        return
    beyond = any(not key.startswith("clip.") for key in state)
    if isinstance(model, ClipFamily) and not beyond:
        model.init_from_clip(clip_tensors(state), lent=lent)
        return
    load_strictly(model, _used(model, state), derive_conv2=True, lent=lent)


def _without_places(state: Mapping[str, Tensor], *, model: RetrievalModel) -> dict[str, Tensor]:
    """`state` without the numbered positions that older files hold and the model does not."""
    own = model.state_dict()
    return {key: x for key, x in state.items() if key in own or not key.endswith("position_ids")}


def start_policy(
    model: RetrievalModel, published: Mapping[str, Tensor], *, given: Mapping[str, Tensor] | None
) -> None:
    """Start the network the policy looks with from its published ImageNet weights.

    Args:
        model: started from `given` already.
        published: torchvision's tensors.
        given: what the rest of the model started from; None: random weights.

    Raises:
        OptionsError: `given` brings such a network, or the model has no use for one.
        WeightsError: tensors that do not fit.
    """
    if given is not None and any(key.startswith("sampler.cnn_model.") for key in given):
        raise OptionsError(
            "model.weights brings the network of its policy along: set model.policy_weights=null"
        )
    if not isinstance(model, AdaClip):
        raise OptionsError(
            f"{type(model).__name__} has no policy that looks at frames: set"
            " model.policy_weights=null"
        )
    model.start_policy(published)


def export_checkpoint(model: RetrievalModel, *, half: bool = True) -> dict[str, Tensor]:
    """A state dict on the CPU that the original's loader takes.

    Args:
        model: of any family.
        half: fp16 for the `clip.*` tensors the originals keep so, fp32 for all others; otherwise
            every tensor in the type it has.
    """
    exported = {}
    for key, tensor in model.state_dict().items():
        kept = tensor.detach().to("cpu")
        if half and kept.is_floating_point() and not model.transformers_names:
            fp16 = key.startswith("clip.") and is_half(key)
            kept = kept.to(torch.float16 if fp16 else torch.float32)
        exported[key] = kept.clone().contiguous()
    return transformers_names(exported) if model.transformers_names else exported


def export_clip(model: RetrievalModel) -> dict[str, Any]:
    """The towers as an OpenAI archive's state dict: fp16 as there, with its three scalars.

    Raises:
        WeightsError: no CLIP towers, or a 3d patch that an archive has no place for.
    """
    if not isinstance(model, ClipFamily):
        raise WeightsError(f"{type(model).__name__} has no CLIP towers to export")
    state = our_names(export_checkpoint(model))
    if "clip.visual.conv2.weight" in state:
        raise WeightsError("an OpenAI archive has no 3d patch: export the checkpoint instead")
    sizes = model.architecture
    return {
        **clip_tensors(state),
        "input_resolution": torch.tensor(sizes.image_size),
        "context_length": torch.tensor(sizes.context_length),
        "vocab_size": torch.tensor(sizes.vocab_size),
    }


def to_legacy_fp16(model: RetrievalModel) -> None:
    """Cast the towers as the originals train them (specs/clip4clip-clip2video.md 3.4).

    Raises:
        WeightsError: no CLIP towers.
    """
    if not isinstance(model, ClipFamily):
        raise WeightsError(f"{type(model).__name__} has no CLIP towers to cast")
    legacy_fp16(model.clip)
