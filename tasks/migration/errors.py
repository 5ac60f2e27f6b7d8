"""What a gate says where it says no; apart, so that the command line knows it without torch."""

from __future__ import annotations

from reelvec.errors import ReelvecError

__all__ = ["GateRefusedError"]


class GateRefusedError(ReelvecError):
    """New tables are not good enough to take the place of the old; nothing has changed."""
