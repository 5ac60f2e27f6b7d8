"""A model as the originals write it to disk: the object their loaders expect to find in a file."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from reelvec.models.adaclip.options import AdaClipOptions
from reelvec.models.conversion.weights import export_checkpoint, export_clip
from reelvec.models.errors import WeightsError
from reelvec.models.family import ClipFamily, FamilyOptions, RetrievalModel

__all__ = ["FORMATS", "export_as"]

FORMATS = ("state-dict", "pth", "archive")
"""state-dict: `pytorch_model.bin.N` of CLIP4Clip, CLIP2Video and X-CLIP, the bare state dict; pth:
AdaCLIP's dict of arch, epoch, state_dict and config, X-Pool's of epoch and state_dict; archive: an
OpenAI CLIP's state dict."""

_HEAD_DIM = 64
"""A literal in all four systems."""


def export_as(
    model: RetrievalModel, layout: str, *, epoch: int = 0, half: bool = True
) -> dict[str, Any]:
    """The object to be saved with torch.save.

    Args:
        model: of a family on CLIP towers.
        layout: one of FORMATS.
        epoch: written into a pth, nowhere else.
        half: fp16 for the `clip.*` tensors the originals keep so; otherwise every tensor as it is.
            An archive is always fp16 there.

    Raises:
        WeightsError: a model that this layout has no place for.
    """
    if layout not in FORMATS:
        raise WeightsError(f"no format {layout!r}; there are {', '.join(FORMATS)}")
    if not isinstance(model, ClipFamily):
        raise WeightsError(
            f"a {type(model).__name__} has no form in any of the originals: export it as "
            "safetensors"
        )
    if model.architecture.head_dim != _HEAD_DIM:
        raise WeightsError(
            f"heads of {model.architecture.head_dim}: all four originals read any weights as heads "
            f"of {_HEAD_DIM}, which no shape contradicts; export it as safetensors"
        )
    if layout == "archive":
        return OrderedDict(export_clip(model))
    state = OrderedDict(export_checkpoint(model, half=half))
    if layout == "state-dict":
        return state
    if model.transformers_names:
        return {"epoch": epoch, "state_dict": state}
    options: FamilyOptions | None = getattr(model, "options", None)
    if not isinstance(options, AdaClipOptions):
        raise WeightsError(
            f"a pth holds AdaCLIP's configuration, which a {type(model).__name__} has not: export "
            "it as state-dict"
        )
    config = _adaclip_config(options, max_words=model.max_words, max_frames=model.max_frames)
    return {"arch": "AdaCLIP", "epoch": epoch, "state_dict": state, "config": config}


def _adaclip_config(options: AdaClipOptions, *, max_words: int, max_frames: int) -> dict[str, Any]:
    """AdaCLIP's own configuration: what `models.adaclip.options.read_config` reads."""
    ours = options.model_dump(exclude={"policy", "batch_norm", "mask_layout"})
    for key in ("frame_agg", "word_agg"):
        ours[key] = None if ours[key] == "none" else ours[key]
    has_policy, has_rnn = options.policy != "none", options.rnn != "none"
    ours["rnn"] = options.rnn if has_rnn else "transformer"
    return {
        **ours,
        "use_policy": has_policy,
        "policy_backbone": options.policy if has_policy else "mobilenet_v3_large",
        "use_rnn": has_rnn,
        "max_txt_len": max_words,
        "num_frm": max_frames,
    }
