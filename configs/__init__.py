"""The configuration of a run: frozen options, and the strict loader that reads them.

A name is imported when it is first used, as those of `reelvec` are: a command's help, and an error,
need no schema.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from reelvec.configs.errors import ConfigError

if TYPE_CHECKING:
    from reelvec.configs.loader import load
    from reelvec.configs.presets import preset_names
    from reelvec.configs.schema import PipelineConfig

__all__ = ["ConfigError", "PipelineConfig", "load", "preset_names"]

_ROOMS = {"PipelineConfig": "schema", "load": "loader", "preset_names": "presets"}
"""Name -> the module it comes from."""

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """PEP 562: a name is imported when it is first used, and stays."""
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
