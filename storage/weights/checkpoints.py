"""Weights files: our checkpoints, and those of others, read safely.

Ours are one safetensors file: tensors by name, and one JSON document in its header. Names that
begin with ``weights/`` are the model's; others (optimizer state, say) are the trainer's.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import save_file

from reelvec.storage.errors import WeightsError
from reelvec.storage.layout import canonical
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.weights.archives import read_archive, read_legacy
from reelvec.storage.weights.checks import check_finite, check_tensors
from reelvec.storage.weights.lookalikes import check_is_weights
from reelvec.storage.weights.nesting import is_nested, plain, state_in, unwrapped
from reelvec.storage.weights.paths import existing_file
from reelvec.storage.weights.pickles import Holder, PickleError
from reelvec.storage.weights.tensors import is_safetensors, read_safetensors

__all__ = [
    "WEIGHTS",
    "Checkpoint",
    "WeightsFile",
    "load_checkpoint",
    "open_weights",
    "read_weights",
    "save_checkpoint",
    "save_state",
    "weights_hash",
]

WEIGHTS = "weights/"
"""Prefix of the model's tensors in a checkpoint of ours."""

_HEADER = "reelvec"  # one key only: the order of several would not be deterministic
_FACTS = ("arch", "epoch", "config")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Tensors by name (CPU) and the JSON document saved with them."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The model's tensors, without their prefix."""
        return _model_tensors(self.tensors)


@dataclass(frozen=True, slots=True, eq=False)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        tensors: by name (CPU).
        container: in words: how the tensors were stored.
        facts: what the file says of them: our checkpoints' metadata; `arch`, `epoch` and `config`
            of a checkpoint that holds a state dict beside them. Plain data.
        in_place: whether the tensors show the file itself, and take no memory of their own.
    """

    tensors: dict[str, torch.Tensor]
    container: str
    facts: dict[str, Any]
    in_place: bool


def save_checkpoint(
    path: Path, *, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes one safetensors file; the same tensors and metadata give the same bytes.

    Its mode follows the umask, as that of any other file; one that is there keeps its own. Give a
    temporary name (`new_output`, a part's path): a failure may leave an empty file.

    Raises:
        StoreError: metadata that JSON cannot hold exactly, or a disk that cannot be written.
    """
    plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    seen: set[int] = set()
    for name, tensor in plain.items():  # the format refuses tensors that share memory
        address = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    header = {_HEADER: canonical(metadata).decode()}
    with explained("write", path=path, only=WRITE_FAILURES):
        path.touch()  # the library's file is private (0600): this one has the mode it should have
        mode = stat.S_IMODE(path.stat().st_mode)
        try:
            save_file(plain, path, metadata=header)
        except SafetensorError as error:
            raise _system_error(error) from error
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)


def _system_error(error: SafetensorError) -> Exception:
    """The system's error behind one of the library, which has its number in words only."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), str(error)) if number else error


def load_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of ours.

    Raises:
        WeightsError: the file is damaged, or none of ours, or its weights are not finite.
    """
    tensors, header = read_safetensors(path)
    if _HEADER not in header:
        raise WeightsError(
            f"{path} is a safetensors file, but no checkpoint of ours; read_weights takes it",
            path=str(path),
        )
    checkpoint = Checkpoint(tensors, _metadata(header, path=path))
    check_finite(checkpoint.weights, source=str(path))
    return checkpoint


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name (CPU) from any weights file we know; nothing in it is ever executed.

    Known are checkpoints of ours (their ``weights/``), safetensors, OpenAI's TorchScript
    archives, state dicts of ``torch.save`` (``pytorch_model.bin.N``), and checkpoints that hold
    one under some name beside other things (AdaCLIP's ``.pth``). What wrappers put into names
    (``module.`` before all of them, ``_orig_mod.`` anywhere) is removed.

    Raises:
        WeightsError: missing, damaged, of an unknown kind, asking to run code, or not finite.
    """
    tensors = open_weights(path).tensors
    check_finite(tensors, source=str(path))
    return tensors


def open_weights(path: Path, *, known: bool = False) -> WeightsFile:
    """What `read_weights` reads, finite or not, and what the file says about it.

    Args:
        path: of the file.
        known: it was read whole when it was as it is now; no more of it is read than is asked for.

    Raises:
        WeightsError: as `read_weights`.
    """
    path = existing_file(Path(path))
    check_is_weights(path)
    if is_safetensors(path):
        tensors, header = read_safetensors(path)
        facts = _metadata(header, path=path) if _HEADER in header else {}
        container = "checkpoint of reelvec (safetensors)" if facts else "safetensors"
        found = WeightsFile(unwrapped(_model_tensors(tensors)), container, facts, in_place=True)
        return _checked(found, path)
    zipped = zipfile.is_zipfile(path)
    content = read_archive(path, known=known) if zipped else read_legacy(path)
    try:
        state = state_in(content)
    except PickleError as error:
        raise WeightsError(f"{path}: {error}", path=str(path)) from None
    if not state:
        raise WeightsError(f"{path} holds no tensors by name", path=str(path))
    if isinstance(content, Holder):
        container, facts = "TorchScript archive", {}
    elif is_nested(content):
        facts = {name: plain(content[name]) for name in _FACTS if name in content}
        container = "torch.save of a state dict with other things"
    else:
        container, facts = "torch.save of a state dict", {}
    return _checked(WeightsFile(unwrapped(state), container, facts, in_place=zipped), path)


def _checked(file: WeightsFile, path: Path) -> WeightsFile:
    check_tensors(file.tensors, path=path)
    return file


def _metadata(header: Mapping[str, str], *, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(header[_HEADER])
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its header ({_HEADER}) is no JSON ({error}); it is damaged", path=str(path)
        ) from None
    if not isinstance(document, dict):
        raise WeightsError(f"{path}: its header ({_HEADER}) is no JSON object", path=str(path))
    return document


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes with ``torch.save``, as the originals do: a state dict, or one with plain data beside.

    Raises:
        StoreError: a disk that cannot be written.
    """
    with explained("write", path=path, only=WRITE_FAILURES), path.open("wb") as stream:
        try:  # a stream, since torch writes a file's name into it
            torch.save(state, stream)
        except RuntimeError as error:  # its own complaint about a write that failed
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def weights_hash(state: Mapping[str, torch.Tensor]) -> str:
    """xxh3-128 over sorted names, dtypes, shapes and bytes: what weights are, whatever the file.

    32 hex digits; the device and the memory layout do not matter.
    """
    digest = xxhash.xxh3_128()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        head = {"name": name, "dtype": str(tensor.dtype), "shape": list(tensor.shape)}
        digest.update(canonical(head))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _model_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ours = {name: tensor for name, tensor in tensors.items() if name.startswith(WEIGHTS)}
    return {name.removeprefix(WEIGHTS): ours[name] for name in ours} or tensors
