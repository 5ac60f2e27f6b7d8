"""The root of all errors a person can cause or cure; each says the value, the rule, the remedy.

Every folder has its own below it: `storage.errors`, `models.errors`, `configs.ConfigError`.
"""

from __future__ import annotations

__all__ = ["ReelvecError", "RequestError"]


class ReelvecError(Exception):
    """Base class of errors a person can cause or cure; the command line shows the message alone."""


class RequestError(ReelvecError, ValueError):
    """The Python API was asked for something it cannot give."""
