"""Errors of models; each message gives the value, the rule and the remedy.

ModelError
├── OptionsError     a family, architecture or option that does not exist or does not fit
├── FeatureError     feature tensors that do not belong together
├── InputError       frames or tokens of the wrong shape
└── WeightsError     tensors that do not fit the model
"""

from __future__ import annotations

from reelvec.errors import ReelvecError

__all__ = ["FeatureError", "InputError", "ModelError", "OptionsError", "WeightsError"]


class ModelError(ReelvecError, ValueError):
    """Base class of the errors in `models`; the command line shows its message alone."""


class OptionsError(ModelError):
    """A family, an architecture or an option does not exist, or two of them exclude each other."""


class FeatureError(ModelError):
    """Feature tensors do not belong together."""


class InputError(ModelError):
    """Frames or tokens do not have the shape the model was built for."""


class WeightsError(ModelError):
    """Tensors are missing, unexpected or of another shape than the model's."""
