"""A model of `transformers` and its tokenizer from a checkpoint's small files alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from reelvec.models.errors import OptionsError, WeightsError

__all__ = ["check_package", "load", "load_tokenizer"]

T = TypeVar("T")
_LOCAL: Mapping[str, Any] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})


def check_package(kind: str = "", *, version: str = "") -> None:
    """Refuse to go on without `transformers`, or with one that is too old.

    Args:
        kind: the `model_type` that needs it.
        version: the first one that has it; "": any.

    Raises:
        OptionsError: it is not installed, or too old.
    """
    if importlib.util.find_spec("transformers") is None:
        raise OptionsError(
            "weights hf:… need the package transformers, which is not installed; "
            'pip install "reelvec[hf]"'
        )
    found = importlib.metadata.version("transformers") if version else ""
    if version and _numbers(found) < _numbers(version):
        raise OptionsError(
            f"model_type {kind!r} needs transformers >= {version}, found {found};"
            f' pip install "transformers>={version}"'
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version, which order it."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def load(files: Mapping[str, bytes]) -> tuple[nn.Module, Any]:
    """Model (random weights, fp32) and tokenizer from unpacked files; their code is never run.

    Raises:
        OptionsError: `transformers` is not installed.
        WeightsError: it cannot use these files.
    """
    return _from_folder(files, _model_and_tokenizer)


def load_tokenizer(files: Mapping[str, bytes]) -> Any:
    """The tokenizer alone, where the model is not built by `transformers`.

    Raises:
        OptionsError: `transformers` is not installed.
        WeightsError: it cannot use these files.
    """
    return _from_folder(files, _tokenizer)


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    make: Any = AutoTokenizer.from_pretrained
    return make(folder, **_LOCAL)


def _model_and_tokenizer(folder: str) -> tuple[nn.Module, Any]:
    from transformers import AutoConfig, AutoModel

    tokenizer = _tokenizer(folder)
    config = AutoConfig.from_pretrained(folder, **_LOCAL)
    make: Any = AutoModel.from_config
    return make(config, trust_remote_code=False).float(), tokenizer


def _from_folder(files: Mapping[str, bytes], read: Callable[[str], T]) -> T:
    """What `read` makes of a folder with these files."""
    check_package()
    from transformers import logging

    quieten: Any = logging.set_verbosity_error
    quieten()  # it warns of defaults that no part of the checkpoint uses
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        try:
            return read(folder)
        except Exception as error:  # whatever these files make it do
            raise WeightsError(
                f"transformers cannot use {', '.join(sorted(files))} of this checkpoint: {error}"
            ) from error
