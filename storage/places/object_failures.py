"""Errors of an object store as StoreErrors, with URI, need and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions as refusals  # type: ignore[import-untyped]

from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError

__all__ = ["Conflict", "explained_remote"]

_TAKEN = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
_DENIED = ("AccessDenied", "AllAccessDisabled", "403", "Forbidden")
_UNKNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "507", "InsufficientStorage")
_LACKING = ("NotImplemented", "501")


class Conflict(StoreError):
    """Another conditional request for the same object is under way: try again."""


@contextmanager
def explained_remote(action: str, *, uri: str, need: int = 0) -> Iterator[None]:
    """Turns s3fs's and botocore's errors into StoreErrors that name URI, need and remedy.

    A refused conditional put is FileExistsError, an answer rather than a failure.

    Raises:
        FileExistsError, MissingArtifactError, StoreError.
    """
    try:
        yield
    except StoreError:
        raise
    except (OSError, refusals.BotoCoreError, refusals.ClientError) as error:
        code = _code_of(error)
        if code in _TAKEN or isinstance(error, FileExistsError):
            raise FileExistsError(f"{uri} is there already") from error
        kind: type[StoreError] = RefusedError
        if code in _CONFLICT:
            kind = Conflict
        elif isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
            kind = MissingArtifactError
        message = f"cannot {action} {uri}: {_remedy(error, code, uri=uri, need=need)}"
        raise kind(message, path=uri) from error


def _code_of(error: BaseException) -> str:
    """The server's error code; "" where no server answered."""
    for cause in (error, error.__cause__):
        if isinstance(cause, refusals.ClientError):
            return str(cause.response.get("Error", {}).get("Code", ""))
    return ""


def _remedy(error: BaseException, code: str, *, uri: str, need: int) -> str:
    words = f"{code}: {error}" if code else f"{type(error).__name__}: {error}"
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
        return "it is not there; was it removed, or is this another store?"
    if isinstance(error, refusals.NoCredentialsError | refusals.PartialCredentialsError):
        return (
            f"{words}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run "
            "where a role is attached"
        )
    if not code:
        return (
            f"{words}; the server cannot be reached: check the network and AWS_ENDPOINT_URL, then "
            "run again, what is committed is intact"
        )
    remedies = {
        ("NoSuchBucket",): f"make it (aws s3 mb s3://{bucket}) or correct the store's URI",
        _UNKNOWN: "the server does not accept these credentials: renew or correct them",
        _DENIED: "the credentials need s3:GetObject, s3:PutObject, s3:DeleteObject and "
        f"s3:ListBucket on {bucket}",
        _FULL: f"{need} bytes are needed: free space (`reelvec gc`) or raise the quota",
        _LACKING: "the store needs a server with conditional writes (If-None-Match)",
    }
    remedy = next((text for codes, text in remedies.items() if code in codes), None)
    return f"{words}; {remedy or 'the store is intact, run again when the cause is gone'}"
