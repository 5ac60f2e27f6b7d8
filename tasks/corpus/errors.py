"""Errors of the corpus as a whole."""

from reelvec.storage.errors import ReelvecError

__all__ = ["TooManyFailedError"]


class TooManyFailedError(ReelvecError):
    """More videos failed than the run allows."""
