"""What training can refuse."""

from __future__ import annotations

from reelvec.storage.errors import ReelvecError

__all__ = ["TrainingError"]


class TrainingError(ReelvecError):
    """Training cannot go on, and would not if it were started again."""
