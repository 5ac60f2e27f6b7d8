"""Foreign torch archives, read without running anything in them.

``torch.save`` and ``torch.jit.save`` both write a zip of ``data.pkl`` and raw storages. The
pickle is read by an unpickler that knows a handful of names and maps them to plain data: tensors,
dicts, and for a TorchScript archive one inert holder for all module classes. Its code is never
loaded. What else a pickle asks for is refused by name.
"""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from reelvec.storage.errors import WeightsError

__all__ = ["Holder", "read_archive"]


def read_archive(path: Path) -> Any:
    """The object in a zip archive of torch.save or torch.jit.save, as plain data.

    TorchScript modules come back as (nested) Holders of their attributes.

    Raises:
        WeightsError: no such archive, a name that is not allowed, or storages out of bounds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise WeightsError(
                    f"{path} is a zip file, but no torch archive (no data.pkl)", path=str(path)
                )
            unpickler = _Unpickler(archive, names[0].removesuffix("data.pkl"), path=path)
            return unpickler.load()
    except WeightsError:
        raise
    except Exception as error:  # hostile bytes may raise anything here
        raise WeightsError(
            f"{path} cannot be read as a torch archive ({type(error).__name__}: {error}); it is "
            "damaged, or not one",
            path=str(path),
        ) from error


class Holder(dict[str, Any]):
    """A stand-in for a class instance: its attributes or items, and no behaviour."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            for key, value in state.items():
                self.setdefault(str(key), value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str, *, path: Path) -> None:
        super().__init__(io.BytesIO(_stored(archive, f"{folder}data.pkl", path=path)))
        self._archive = archive
        self._folder = folder
        self._path = path
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return Holder
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        try:
            return _ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise WeightsError(
                f"{self._path} asks for {module}.{name}, which is not needed for weights and may "
                "run code; save the state dict alone, or as safetensors",
                path=str(self._path),
            ) from None

    def persistent_load(self, identifier: Any) -> torch.Tensor:
        """A storage as a flat tensor: ("storage", dtype, key, device, elements)."""
        _, dtype, key, _, elements = identifier
        if key not in self._storages:
            data = bytearray(_stored(self._archive, f"{self._folder}data/{key}", path=self._path))
            empty = torch.empty(0, dtype=dtype)
            flat = torch.frombuffer(data, dtype=dtype) if data else empty
            self._storages[key] = flat[: int(elements)]
        return self._storages[key]


def _stored(archive: zipfile.ZipFile, name: str, *, path: Path) -> bytes:
    """A member's bytes; torch stores them uncompressed, and nothing else is unpacked."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise WeightsError(f"{path}: {name} is compressed, which torch never does", path=str(path))
    return archive.read(info)


def _tensor(
    flat: torch.Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> torch.Tensor:
    return flat.as_strided(tuple(size), tuple(stride), offset)  # checks the bounds


def _parameter(data: torch.Tensor, *_: object) -> torch.Tensor:
    return data


def _rows(values: Any, *_: object) -> Any:
    return values


_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_ALLOWED: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.jit._pickle.build_intlist": _rows,
    "torch.jit._pickle.build_doublelist": _rows,
    "torch.jit._pickle.build_boollist": _rows,
    "torch.jit._pickle.build_tensorlist": _rows,
    "torch.jit._pickle.restore_type_tag": _rows,
    "torch.Size": tuple,
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "easydict.EasyDict": Holder,
    f"{argparse.__name__}.Namespace": Holder,
}
