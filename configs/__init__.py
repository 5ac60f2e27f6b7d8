"""The configuration of a run: frozen options, and the strict loader that reads them."""

from reelvec.configs.errors import ConfigError
from reelvec.configs.loader import load
from reelvec.configs.presets import preset_names
from reelvec.configs.schema import PipelineConfig

__all__ = ["ConfigError", "PipelineConfig", "load", "preset_names"]
