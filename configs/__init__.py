"""The configuration of a run: frozen options, and the strict loader that reads them."""

from reelvec.configs.loader import ConfigError, load, preset_names
from reelvec.configs.schema import PipelineConfig

__all__ = ["ConfigError", "PipelineConfig", "load", "preset_names"]
