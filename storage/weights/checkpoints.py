"""Weights files: our checkpoints, and those of others, read safely.

Ours are one safetensors file: tensors by name, and one JSON document in its header. Names that
begin with ``weights/`` are the model's; others (optimizer state, say) are the trainer's.
"""

from __future__ import annotations

import json
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reelvec.storage.errors import WeightsError
from reelvec.storage.layout import canonical
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.weights.archives import Holder, read_archive
from reelvec.storage.weights.paths import existing_file

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
_NESTED = ("state_dict", "model_state_dict", "model")
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
    """

    tensors: dict[str, torch.Tensor]
    container: str
    facts: dict[str, Any]


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
        WeightsError: the file is damaged, or none of ours.
    """
    tensors, header = _read_safetensors(path)
    if _HEADER not in header:
        raise WeightsError(
            f"{path} is a safetensors file, but no checkpoint of ours; read_weights takes it",
            path=str(path),
        )
    return Checkpoint(tensors, json.loads(header[_HEADER]))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name (CPU) from any weights file we know; nothing in it is ever executed.

    Known are checkpoints of ours (their ``weights/``), safetensors, OpenAI's TorchScript
    archives, state dicts of ``torch.save`` (``pytorch_model.bin.N``), and checkpoints that hold
    one under ``state_dict`` beside other things (AdaCLIP's ``.pth``). A ``module.`` before all
    names (a wrapped model) is removed.

    Raises:
        WeightsError: missing, damaged, of an unknown kind, or asking to run code.
    """
    return open_weights(path).tensors


def open_weights(path: Path) -> WeightsFile:
    """What `read_weights` reads, and what the file says about it.

    Raises:
        WeightsError: as `read_weights`.
    """
    path = existing_file(Path(path))
    if _is_safetensors(path):
        tensors, header = _read_safetensors(path)
        facts = json.loads(header[_HEADER]) if _HEADER in header else {}
        container = "checkpoint of reelvec (safetensors)" if facts else "safetensors"
        return WeightsFile(_model_tensors(tensors), container, facts)
    content = _unpickled(path)
    state = _state_of(content)
    if not state:
        raise WeightsError(f"{path} holds no tensors by name", path=str(path))
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if isinstance(content, Holder):
        return WeightsFile(state, "TorchScript archive", {})
    if any(isinstance(content.get(name), dict) for name in _NESTED):
        facts = {name: _plain(content[name]) for name in _FACTS if name in content}
        return WeightsFile(state, "torch.save of a state dict with other things", facts)
    return WeightsFile(state, "torch.save of a state dict", {})


def _unpickled(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        return read_archive(path)
    try:
        with warnings.catch_warnings():  # of pickle protocols; what cannot be read is an error
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path} is no weights file we know ({type(error).__name__}): safetensors, "
            "TorchScript archives and state dicts are",
            path=str(path),
        ) from error


def _plain(value: Any) -> Any:
    """Plain data out of an unpickled object; anything else becomes its description."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


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


def _state_of(content: Any, *, prefix: str = "") -> dict[str, torch.Tensor]:
    """Tensors by dotted name out of a state dict, a checkpoint that holds one, or a module."""
    if not isinstance(content, dict):
        return {}
    if not prefix:
        for name in _NESTED:
            if isinstance(content.get(name), dict):
                return _state_of(content[name])
    state: dict[str, torch.Tensor] = {}
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            state[f"{prefix}{name}"] = value
        elif isinstance(content, Holder):  # a module's submodule
            state |= _state_of(value, prefix=f"{prefix}{name}.")
    return state


def _is_safetensors(path: Path) -> bool:
    """A little-endian header length, then JSON."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if len(head) < 9 or head[8:] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return bool(length <= path.stat().st_size)


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors ({error}); it is damaged or missing",
            path=str(path),
        ) from error
