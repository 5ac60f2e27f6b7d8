"""What a gate says where it says no; apart, so that the command line knows it without torch."""

from __future__ import annotations

from reelvec.errors import ReelvecError

__all__ = ["GateRefusedError"]


class GateRefusedError(ReelvecError):
    """New tables are not good enough to take the place of the old; nothing has changed.

    Attributes:
        run: name of the run whose tables they are.
        identity: fingerprint of the tables.
        why: the checks that failed.
        report: where the gate's page is.
    """

    def __init__(
        self, message: str, *, run: str = "", identity: str = "", why: str = "", report: str = ""
    ) -> None:
        super().__init__(message)
        self.run = run
        self.identity = identity
        self.why = why
        self.report = report
