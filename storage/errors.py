"""Errors of storage; each message gives the value, the rule and the remedy.

ReelvecError
├── StoreError(path)                 the store itself
│   ├── FormatError                  a store of a newer format than this program knows
│   ├── IntegrityError               bytes that are not what a receipt promised
│   ├── AliasError                   an alias that cannot be followed, or not be moved as asked
│   ├── BusyError                    what must be done alone, while somebody writes in the store
│   ├── CommitError                  a snapshot that must not be published
│   │   └── NotFiniteError           a row whose vectors hold NaN or infinity
│   ├── MissingArtifactError         asked for what was never made
│   ├── RefusedError                 the system or a server refuses; nothing is known of the bytes
│   └── IdentityError                tables of different identity combined
├── CorpusError(path, line)          annotation files that do not hold what they promise
├── WeightsError(path)               archives that do not fit, or are not safe to read
└── VideoError(path, reason)         one video cannot be used; becomes a ledger row
"""

from __future__ import annotations

from reelvec.errors import ReelvecError

__all__ = [
    "AddressError",
    "AliasError",
    "BusyError",
    "CommitError",
    "CorpusError",
    "FormatError",
    "IdentityError",
    "IntegrityError",
    "MissingArtifactError",
    "NotFiniteError",
    "ReelvecError",
    "RefusedError",
    "StoreError",
    "VideoError",
    "WeightsError",
]


class StoreError(ReelvecError, OSError):
    """The store at `path` cannot be used as asked."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class AddressError(StoreError, ValueError):
    """No store can be at the address that was given."""


class FormatError(StoreError):
    """The store is of a newer format than this program knows."""


class IntegrityError(StoreError):
    """Stored bytes differ from their receipt."""


class AliasError(StoreError):
    """An alias cannot be followed, or not be moved as asked."""


class BusyError(StoreError):
    """Somebody writes in the store, and what was asked for must be done alone."""


class CommitError(StoreError):
    """A snapshot was refused."""


class NotFiniteError(CommitError):
    """A row that must not be committed: its vectors hold NaN or infinity."""


class MissingArtifactError(StoreError, FileNotFoundError):
    """No such artifact or snapshot."""


class RefusedError(StoreError):
    """The place refuses (rights, space, open files, a mount): nothing is known of what it holds."""


class IdentityError(StoreError, ValueError):
    """Two things of different identity cannot be combined."""


class CorpusError(ReelvecError, ValueError):
    """An annotation file is wrong at `path`, line `line` (0: the whole file)."""

    def __init__(self, message: str, *, path: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


class WeightsError(ReelvecError, ValueError):
    """A weights file does not fit the model, or is not safe to read."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class VideoError(ReelvecError, ValueError):
    """One video cannot be used; `reason` is a storage.reasons.Reason value."""

    def __init__(self, message: str, *, path: str = "", reason: str = "unreadable") -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process borders with their attributes."""
        return (_video_error, (str(self), self.path, self.reason))


def _video_error(message: str, path: str, reason: str) -> VideoError:
    return VideoError(message, path=path, reason=reason)
