"""Tensors under other names than ours: a prefix before all of them, or transformers' names of CLIP.

X-Pool's checkpoints hold a CLIP under those names beside tensors of their own.

Names of a layout we know stay as they are, whatever else could be read into them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from reelvec.models.errors import WeightsError

__all__ = ["our_names", "transformers_names"]

_OURS = ("clip.visual.proj", "visual.proj")
_THEIRS = "text_model.embeddings.token_embedding.weight"
_LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)")
_OUR_LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
_ATTENTION = re.compile(r"self_attn\.([qkv])_proj\.(weight|bias)")
_SAME = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # their spelling
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_TURNED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_IN_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_NO_WEIGHTS = "position_ids"
_TOWERS = "clip."


def _has_our_names(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an archive's, a checkpoint's of the four systems, or a packed folder's."""
    packed = "files" in state and any(key.startswith("encoder.") for key in state)
    return packed or any(name in state for name in _OURS)


def _has_transformers_names(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as transformers names those of a CLIP."""
    return _THEIRS in state and "visual_projection.weight" in state


def our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under names of ours, as far as they can be told; else as it is.

    A prefix goes where every name carries it and what is left are names we know. Transformers'
    names of CLIP become those of OpenAI's archives, and are taken for a CLIP of OpenAI's kind:
    quick GELU, heads of 64.

    Raises:
        WeightsError: transformers' names, with some among them that no CLIP has.
    """
    for shown in _without_prefixes(state):
        beside = {name: x for name, x in shown.items() if not name.startswith(_TOWERS)}
        towers = {name[len(_TOWERS) :]: x for name, x in shown.items() if name not in beside}
        if beside and _has_transformers_names(towers):
            return {_TOWERS + name: x for name, x in _from_transformers(towers).items()} | beside
        if _has_our_names(shown):
            return dict(shown)
        if _has_transformers_names(shown):
            return _from_transformers(shown)
    return dict(state)


def transformers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with its `clip.*` tensors under transformers' names; the way back of `our_names`."""
    renamed: dict[str, Tensor] = {}
    same, turned = ({ours: theirs for theirs, ours in x.items()} for x in (_SAME, _TURNED))
    inner = {ours: theirs for theirs, ours in _IN_LAYER.items()}
    for full, tensor in state.items():
        name = full.removeprefix(_TOWERS)
        found = _OUR_LAYER.fullmatch(name)
        if name == full:
            renamed[full] = tensor
        elif name in turned:
            renamed[_TOWERS + turned[name]] = tensor.T.contiguous()
        elif not found:
            renamed[_TOWERS + same[name]] = tensor
        else:
            block = f"{_TOWERS}{'vision' if found[1] else 'text'}_model.encoder.layers.{found[2]}"
            if found[3].startswith("attn.in_proj_"):
                kind = found[3].removeprefix("attn.in_proj_")
                for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{block}.self_attn.{part}_proj.{kind}"] = rows.clone()
            else:
                module, _, kind = found[3].rpartition(".")
                renamed[f"{block}.{inner[module]}.{kind}"] = tensor
    return renamed


def _without_prefixes(state: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
    """`state`, then without the first part of all names, without two, … while they agree."""
    shown = [state]
    names = [name.split(".") for name in state]
    for depth in range(1, min(map(len, names), default=0)):
        if len({name[depth - 1] for name in names}) > 1:
            break
        shown.append({".".join(n[depth:]): t for n, t in zip(names, state.values(), strict=True)})
    return shown


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    joined: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name.endswith(_NO_WEIGHTS):
            continue
        if name in _SAME:
            renamed[_SAME[name]] = tensor
        elif name in _TURNED:
            renamed[_TURNED[name]] = tensor.T.contiguous()
        else:
            block, inner = _in_layer(name)
            attention = _ATTENTION.fullmatch(inner)
            if attention:
                joined.setdefault(f"{block}.attn.in_proj_{attention[2]}", {})[attention[1]] = tensor
            else:
                module, _, kind = inner.rpartition(".")
                if module not in _IN_LAYER:
                    raise _unknown(name)
                renamed[f"{block}.{_IN_LAYER[module]}.{kind}"] = tensor
    for name, parts in joined.items():
        if len(parts) == len("qkv"):  # one that is missing is named where tensors are loaded
            renamed[name] = torch.cat([parts[part] for part in "qkv"])
    return renamed


def _in_layer(name: str) -> tuple[str, str]:
    """A layer as OpenAI calls it, and the rest of the name."""
    found = _LAYER.fullmatch(name)
    if not found:
        raise _unknown(name)
    tower = "visual." if found[1] == "vision" else ""
    return f"{tower}transformer.resblocks.{found[2]}", found[3]


def _unknown(name: str) -> WeightsError:
    return WeightsError(
        f"{name} among names of transformers' CLIP is none of a CLIP as OpenAI made it; give the"
        " folder the file is from, hf:FOLDER"
    )
