"""What a run is: frozen options, and the strict loader that reads them."""

from configs.loader import ConfigError, load, preset_names
from configs.schema import PipelineConfig

__all__ = ["ConfigError", "PipelineConfig", "load", "preset_names"]
