"""What goes wrong where files lie elsewhere: asked again, told in words, and named by a reason."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError
from reelvec.storage.places.source_contract import ChangedError, ForbiddenError, LateError
from reelvec.storage.reasons import Reason

__all__ = ["asked_again", "explained_source", "in_time", "reason_of"]

_PAUSE = 2.0
"""Seconds at most before the last of several times; less before the others."""
_WORDS = 300
"""Characters of what a library says, which may hold a whole answer."""

T = TypeVar("T")


def asked_again(
    ask: Callable[[], T], *, tries: int, settled: type[StoreError] | tuple[type[StoreError], ...]
) -> T:
    """What `ask` gives: called again after growing pauses where a server fails.

    Args:
        ask: one request.
        tries: how often it is called at most.
        settled: errors that another request would not change.

    Raises:
        StoreError: that of the last time, or one that is settled.
    """
    for left in reversed(range(tries)):
        try:
            return ask()
        except (MissingArtifactError, RefusedError) as error:
            if not left or isinstance(error, settled):
                raise
        time.sleep(random.uniform(0, _PAUSE / (left + 1)))
    raise ValueError(f"tries is {tries}; what is asked is asked once at least")


@contextmanager
def in_time(uri: str, seconds: float) -> Iterator[None]:
    """Turns fsspec's timeout into a StoreError.

    Raises:
        LateError: nothing came in that time.
    """
    from fsspec.exceptions import FSTimeoutError

    try:
        yield
    except FSTimeoutError as error:
        raise LateError(f"{uri}: nothing came for {seconds:.0f} s", path=uri) from error


@contextmanager
def explained_source(action: str, uri: str) -> Iterator[None]:
    """Turns the errors of fsspec's libraries, of no common class, into StoreErrors.

    Raises:
        MissingArtifactError: there is nothing.
        ForbiddenError: the credentials, or none, do not do.
        RefusedError: the server refuses, or does not answer.
    """
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise MissingArtifactError(
            f"cannot {action} {uri}: it is not there; was it removed? Correct the address",
            path=uri,
        ) from error
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:_WORDS]
        kind = ForbiddenError if _is_forbidden(error) else RefusedError
        raise kind(
            f"cannot {action} {uri}: {words}; check the address, the network and the credentials",
            path=uri,
        ) from error


def _is_forbidden(error: Exception) -> bool:
    """By what each library calls it: aiohttp status, Azure status_code; gcsfs has words alone."""
    status = getattr(error, "status", 0) or getattr(error, "status_code", 0)
    said = isinstance(error, OSError) and str(error).startswith("Forbidden")
    return status in (401, 403) or said or isinstance(error, PermissionError)


def reason_of(error: StoreError) -> Reason:
    """Why there is no file, in a word of the ledger."""
    if isinstance(error, MissingArtifactError):
        return Reason.MISSING
    if isinstance(error, LateError):
        return Reason.TIMEOUT
    if isinstance(error, ChangedError):
        return Reason.CHANGED
    if isinstance(error, ForbiddenError) or isinstance(error.__cause__, PermissionError):
        return Reason.PERMISSION
    return Reason.UNREACHABLE
