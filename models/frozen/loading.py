"""A model of `transformers` and its tokenizer from a checkpoint's small files alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from reelvec.models.errors import OptionsError, WeightsError

__all__ = ["check_package", "load"]


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
    check_package()
    from transformers import AutoConfig, AutoModel, AutoTokenizer, logging

    quieten: Any = logging.set_verbosity_error
    quieten()  # it warns of defaults that no part of the checkpoint uses
    local = {"local_files_only": True, "trust_remote_code": False}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **local)
            config = AutoConfig.from_pretrained(folder, **local)
            make: Any = AutoModel.from_config
            model = make(config, trust_remote_code=False)
        except Exception as error:  # whatever these files make it do
            raise WeightsError(
                f"transformers cannot use {', '.join(sorted(files))} of this checkpoint: {error}"
            ) from error
    return model.float(), tokenizer
