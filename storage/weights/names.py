"""What names in a pickle of weights stand for: tensors, plain data, inert holders; nothing else.

A class stands for a Holder of its attributes, whatever it is; its code is never loaded. What may
stand beside the weights (a configuration, numbers of NumPy) is read as far as it is plain data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from reelvec.storage.weights.pickles import Holder, Known, PickleError, is_key

__all__ = ["stands_for"]

_MAX_NUMBERS = 1 << 48  # of one tensor; more would overflow before any check of ours
_MAX_AXES = 16
_SCALAR_KINDS = "biuf"
_SYSTEMS = ("Posix", "Windows", "PurePosix", "PureWindows")


def stands_for(module: str, name: str) -> Any:
    """What `module.name` stands for in a pickle.

    Raises:
        PickleError: nothing that weights need.
    """
    module = _PYTHON_2.get(module, module)
    if module.startswith("__torch__"):
        return Known(Holder)
    if module in ("torch", "torch.storage") and name in _STORAGES:
        return _STORAGES[name]
    if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
        return getattr(torch, name)
    try:
        return Known(_KNOWN[f"{module}.{name}"])
    except KeyError:
        raise PickleError(
            f"it asks for {module}.{name}, which is not needed for weights and may run code; save"
            " the state dict alone, or as safetensors"
        ) from None


def _tensor(
    flat: torch.Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> torch.Tensor:
    if len(size) > _MAX_AXES:
        raise PickleError(f"it has a tensor of {len(size):,} axes")
    if math.prod(size) > _MAX_NUMBERS:
        raise PickleError(f"it has a tensor of {math.prod(size):,} numbers")
    return flat.as_strided(tuple(size), tuple(stride), offset)  # checks the bounds


def _first(value: Any, *_: object) -> Any:
    return value


def _nothing(*_: object) -> None:
    return None


def _rows(values: Any = (), *_: object) -> list[Any]:
    return list(values)


def _items(pairs: Any = (), *_: object) -> dict[Any, Any]:
    """Of an OrderedDict, whose items come as pairs in old pickles and one by one in others."""
    found = pairs.items() if isinstance(pairs, dict) else pairs
    return {key: value for key, value in found if is_key(key)}


def _default_dict(*_: object) -> dict[Any, Any]:
    return {}


def _holder(*_: object) -> Holder:
    return Holder()


def _subclassed(rebuild: Known, _: object, arguments: Sequence[Any], *__: object) -> Any:
    return rebuild.make(*arguments)


def _encoded(text: str, encoding: str = "utf-8", *_: object) -> bytes:
    """Bytes as protocol 2 writes them."""
    return text.encode("latin-1" if encoding == "latin1" else "utf-8")


def _dtype(code: str, *_: object) -> Holder:
    """A NumPy type: its code and, from its state, its byte order."""
    return Holder(code=str(code))


def _scalar(dtype: Holder, data: bytes | str = b"", *_: object) -> Any:
    """A number of NumPy as Python's; None where it is none."""
    if dtype["code"][:1] not in _SCALAR_KINDS:
        return None
    raw = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(raw, np.dtype(dtype["code"]), count=1)[0].item()


_STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
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
)

_PYTHON_2 = {"__builtin__": "builtins"}  # as protocol 2 names it
_KINDS = ("int", "long", "float", "bool", "str", "bytearray")  # which a defaultdict may be of
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1's name, and NumPy 2's
_INERT = (
    *("torch.Tensor", "torch._tensor.Tensor"),
    *("torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"),
    *("argparse.Namespace", "types.SimpleNamespace", "easydict.EasyDict", "yacs.config.CfgNode"),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in _SYSTEMS),
    *(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone")),
)
"""Classes whose instances stand beside weights: their attributes are read, nothing else."""

_KNOWN: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._tensor._rebuild_from_type_v2": _subclassed,
        "torch.jit._pickle.build_intlist": _rows,
        "torch.jit._pickle.build_doublelist": _rows,
        "torch.jit._pickle.build_boollist": _rows,
        "torch.jit._pickle.build_tensorlist": _rows,
        "torch.jit._pickle.restore_type_tag": _first,
        "torch.Size": _rows,
        "torch.device": _nothing,
        "collections.OrderedDict": _items,
        "collections.Counter": _items,
        "collections.defaultdict": _default_dict,
        "builtins.set": _rows,
        "builtins.frozenset": _rows,
        "builtins.dict": _items,
        "builtins.list": _rows,
        **{f"builtins.{kind}": _nothing for kind in _KINDS},
        "_codecs.encode": _encoded,
        "numpy.dtype": _dtype,
        "numpy.ndarray": _holder,
        **{f"{module}._reconstruct": _holder for module in _NUMPY},
        **{f"{module}.scalar": _scalar for module in _NUMPY},
        **dict.fromkeys(_INERT, _holder),
    }
)
