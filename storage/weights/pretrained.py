"""Checkpoints of the Hugging Face hub: a folder or a hub name, safetensors only, nothing executed.

Two layouts are known, transformers' and OpenCLIP's; where a folder has both, transformers' counts.

What comes back is one state dict like any other: the model's tensors under ``encoder.``, and one
uint8 tensor ``files`` with the small files that say what the tensors mean (configuration,
tokenizer, preprocessing). So a checkpoint of ours holds all of it, and its hash covers all of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from reelvec.storage.errors import WeightsError
from reelvec.storage.layout import canonical
from reelvec.storage.weights.checks import check_tensors
from reelvec.storage.weights.lookalikes import check_is_weights
from reelvec.storage.weights.paths import CONFIGURATIONS, PREFIX
from reelvec.storage.weights.tensors import read_safetensors

__all__ = [
    "OPEN_CLIP_FILES",
    "SMALL_FILES",
    "find_pretrained",
    "pretrained_files",
    "read_pretrained",
]

SMALL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
)
"""Files that are kept beside the tensors of transformers' layout, where they exist."""

MORE_FILES = (
    "video_preprocessor_config.json",
    "modules.json",
    "config_sentence_transformers.json",
)
"""Kept too, of the types that are not the first ones: their hashes are of the files above alone."""

_FIRST_TYPES = ("clip", "metaclip_2", "siglip", "siglip2")

OPEN_CLIP_FILES = ("open_clip_config.json",)
"""The same of OpenCLIP's layout."""

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_OPEN_CLIP = "open_clip_model.safetensors"
_PICKLE = "pytorch_model.bin"
_CONVERT = (
    ', or in one line, where its author is trusted: python -c "import torch;'
    " from safetensors.torch import save_file; d = '{folder}'; s = torch.load(d +"
    " '/pytorch_model.bin', weights_only=True); save_file({{k: v.clone() for k, v in s.items()}},"
    " d + '/model.safetensors')\""
)
"""For a folder that holds a pickle alone; weights_only runs nothing of it."""
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""Ends of weights files' names."""
_MAX_SMALL = 64 << 20
"""Bytes of a small file; the largest there are, are tokenizers of 35 MB."""


def find_pretrained(name: str) -> Path:
    """The local folder of a weights name; a hub name is downloaded once, or found in its cache.

    Raises:
        WeightsError: no such folder, or a hub that cannot be asked.
    """
    source = name.removeprefix(PREFIX)
    if not source.strip():
        raise WeightsError(f"({name}) names no folder; give hf:FOLDER or a hub name, hf:ORG/NAME")
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise WeightsError(
            f"no folder ({source}) for ({name}); give hf:FOLDER or a hub name, hf:ORG/NAME",
            path=source,
        )
    return _from_hub(source)


def _from_hub(source: str) -> Path:
    repository, _, revision = source.partition("@")
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise WeightsError(
            f"(hf:{source}) is no local folder, and the package huggingface_hub is not installed;"
            ' pip install "reelvec[hf]"',
            path=source,
        ) from None
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=["*.safetensors", _INDEX, *SMALL_FILES, *MORE_FILES, *OPEN_CLIP_FILES],
        )
    except Exception as error:  # offline, unknown, gated: the hub's own words say which
        raise WeightsError(
            f"(hf:{source}) is no local folder, and the hub did not give it"
            f" ({type(error).__name__}: {error}); check the name, the network and `hf auth login`."
            f" Without a network, bring a folder: `hf download {repository} --local-dir FOLDER`"
            " where there is one, copy it here, and give hf:FOLDER",
            path=source,
        ) from error
    return Path(folder)


def read_pretrained(name: str) -> dict[str, torch.Tensor]:
    """Tensors ``encoder.*`` and ``files`` (CPU) of a weights name.

    Raises:
        WeightsError: not found, without safetensors, or damaged.
    """
    folder = find_pretrained(name)
    state: dict[str, torch.Tensor] = {}
    for path in _parts(folder):
        if path.is_file():
            check_is_weights(path)  # a Git LFS pointer, where a folder was cloned without LFS
        tensors, _ = read_safetensors(path)
        check_tensors(tensors, path=path)
        state |= {f"encoder.{key}": tensor for key, tensor in tensors.items()}
    return state | {"files": _packed(folder)}


def pretrained_files(name: str) -> torch.Tensor:
    """The tensor ``files`` of a weights name: what model it is, before its tensors are looked for.

    Raises:
        WeightsError: not found, without a configuration, or files too large to be what their names
            say.
    """
    folder = find_pretrained(name)
    if not (_is_open_clip(folder) or any((folder / one).is_file() for one in CONFIGURATIONS)):
        raise WeightsError(
            f"({folder}) holds no {' and no '.join(CONFIGURATIONS)}, which say what model it is;"
            f" {_remedy(folder)}",
            path=str(folder),
        )
    return _packed(folder)


def _remedy(folder: Path) -> str:
    """What a person does about a folder that is no checkpoint."""
    files = sorted(one for one in folder.iterdir() if one.suffix in _WEIGHTS and one.is_file())
    if files:
        return f"give a weights file by its own name, as {files[0]}"
    return "give a folder that save_pretrained wrote, or one downloaded with `hf download`"


def _is_open_clip(folder: Path) -> bool:
    """Whether the tensors in a folder are OpenCLIP's alone.

    Raises:
        WeightsError: they are, without their configuration.
    """
    if any((folder / name).is_file() for name in (_WHOLE, _INDEX)):
        return False
    if not (folder / _OPEN_CLIP).is_file():
        return False
    for name in OPEN_CLIP_FILES:
        if not (folder / name).is_file():
            raise WeightsError(
                f"{folder} holds {_OPEN_CLIP} without {name}, which says what its tensors mean;"
                " put the checkpoint's own beside it",
                path=str(folder),
            )
    return True


def _parts(folder: Path) -> list[Path]:
    """The safetensors files of a folder."""
    index = folder / _INDEX
    if _is_open_clip(folder):
        return [folder / _OPEN_CLIP]
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    if not index.is_file():
        raise WeightsError(
            f"{folder} holds no {_WHOLE} and no {_OPEN_CLIP}; pickles are not read: save the model"
            " with save_pretrained(FOLDER, safe_serialization=True)"
            + (_CONVERT.format(folder=folder) if (folder / _PICKLE).is_file() else ""),
            path=str(folder),
        )
    try:
        document: Any = json.loads(index.read_bytes())
        names = {str(name) for name in document["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{index} is no index of safetensors", path=str(index)) from error
    if any(os.path.basename(name) != name for name in names):  # noqa: PTH119
        raise WeightsError(f"{index} names files outside its folder", path=str(index))
    return [folder / name for name in sorted(names)]


def _names(folder: Path) -> tuple[str, ...]:
    """Small files of transformers' layout; damaged configurations are told by who reads them."""
    try:
        kind = json.loads((folder / "config.json").read_bytes())["model_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return SMALL_FILES
    return SMALL_FILES if kind in _FIRST_TYPES else SMALL_FILES + MORE_FILES


def _packed(folder: Path) -> torch.Tensor:
    """The small files as one uint8 tensor: a line of JSON {name: bytes}, then their bytes."""
    names = OPEN_CLIP_FILES if _is_open_clip(folder) else _names(folder)
    paths = {name: folder / name for name in names if (folder / name).is_file()}
    for path in paths.values():
        if path.stat().st_size > _MAX_SMALL:
            raise WeightsError(
                f"{path} takes {path.stat().st_size:,} bytes, more than such a file has; take the"
                " checkpoint's own",
                path=str(path),
            )
    contents = {name: path.read_bytes() for name, path in paths.items()}
    head = canonical({name: len(data) for name, data in contents.items()})
    body = b"".join(contents[name] for name in sorted(contents))
    return torch.frombuffer(bytearray(head + b"\n" + body), dtype=torch.uint8)
