"""Errors of an object store as StoreErrors, with URI, need and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions as refusals  # type: ignore[import-untyped]
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError

__all__ = ["Conflict", "Unsupported", "code_of", "explained_remote"]

_TAKEN = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
_LACKING = ("NotImplemented", "501")

_REMEDIES = {
    ("NoSuchBucket",): "make it (aws s3 mb s3://{bucket}) or correct the URI",
    ("InvalidBucketName",): "no bucket can be called so: correct the URI",
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"): (
        "the server does not accept these credentials: renew or correct them"
    ),
    ("403",): (  # the answer to HEAD, which gives no reason
        "the server does not accept these credentials, or they lack the rights to read {bucket}"
    ),
    ("AccessDenied", "AllAccessDisabled", "Forbidden"): (
        "the credentials need {rights} on {bucket}"
    ),
    ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"): (
        "the bucket is of another region: set AWS_DEFAULT_REGION to it"
    ),
    ("RequestTimeTooSkewed",): "the clocks differ: set the one of this machine right",
    ("QuotaExceeded", "XMinioStorageFull", "507", "InsufficientStorage"): (
        "{need} bytes are needed: free space (`reelvec gc`) or raise the quota"
    ),
    ("EntityTooLarge", "413"): (
        "{need} bytes are more than the server takes in one put: make smaller shards "
        "(extract.shard_videos, or extract.payload: jpeg)"
    ),
    _LACKING: "the store needs a server with conditional writes (If-None-Match)",
    ("MissingContentLength", "411"): "the server takes no checksum behind what is sent",
    ("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "503", "429"): (
        "the server is overloaded and was asked several times: run again later or with fewer "
        "workers, what is committed is intact"
    ),
    ("InternalError", "500", "502", "504"): (
        "the server itself failed, its log knows why; run again, what is committed is intact"
    ),
}
_INTACT = "then run again, what is committed is intact"
_UNANSWERED: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (refusals.NoCredentialsError, refusals.PartialCredentialsError),
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is "
        "attached",
    ),
    (refusals.ParamValidationError, "correct the URI: s3://bucket/prefix"),
    (
        (refusals.ReadTimeoutError, refusals.ConnectTimeoutError),
        f"the server was asked several times: see what holds it up, {_INTACT}",
    ),
    (
        ResponseParserError,
        f"what answers there speaks no S3: correct AWS_ENDPOINT_URL, {_INTACT}",
    ),
    (
        refusals.SSLError,
        "correct AWS_ENDPOINT_URL (http or https?), or let AWS_CA_BUNDLE name the file with the "
        f"certificate of the server's authority, {_INTACT}",
    ),
    (
        (refusals.ConnectionError, refusals.HTTPClientError),
        "the server cannot be reached: check the network, AWS_ENDPOINT_URL and, for https, "
        f"AWS_CA_BUNDLE, {_INTACT}",
    ),
    (
        (ValueError, refusals.BotoCoreError),
        "correct the settings (AWS_ENDPOINT_URL, AWS_PROFILE, AWS_DEFAULT_REGION, …)",
    ),
)
_RIGHTS = "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
_EXPECTED = (
    OSError,
    ValueError,  # an endpoint that is no URL
    refusals.BotoCoreError,
    refusals.ClientError,
    ResponseParserError,
)


class Conflict(StoreError):
    """Another conditional request for the same object is under way: try again."""


class Unsupported(StoreError):
    """The server does not know this kind of request."""


@contextmanager
def explained_remote(
    action: str, *, uri: str, need: int = 0, rights: str = _RIGHTS
) -> Iterator[None]:
    """Turns s3fs's and botocore's errors into StoreErrors that name URI, need, rights and remedy.

    A refused conditional put is FileExistsError, an answer rather than a failure.

    Raises:
        FileExistsError, MissingArtifactError, StoreError.
    """
    try:
        yield
    except StoreError:
        raise
    except _EXPECTED as error:
        code = code_of(error)
        if code in _TAKEN or isinstance(error, FileExistsError):
            raise FileExistsError(f"{uri} is there already") from error
        kind: type[StoreError] = RefusedError
        if code in _CONFLICT:
            kind = Conflict
        elif code in _LACKING:
            kind = Unsupported
        elif _is_missing(error, code):
            kind = MissingArtifactError
        remedy = _remedy(error, code, uri=uri, need=need, rights=rights)
        raise kind(f"cannot {action} {uri}: {remedy}", path=uri) from error


def code_of(error: BaseException) -> str:
    """The server's error code; "" where no server answered."""
    for cause in (error, error.__cause__):
        if isinstance(cause, refusals.ClientError):
            return str(cause.response.get("Error", {}).get("Code", ""))
    return ""


def _is_missing(error: BaseException, code: str) -> bool:
    return code != "NoSuchBucket" and (
        code in ("NoSuchKey", "NoSuchUpload", "404") or isinstance(error, FileNotFoundError)
    )


def _remedy(error: BaseException, code: str, *, uri: str, need: int, rights: str) -> str:
    if _is_missing(error, code):
        return "it is not there; was it removed, or is this another store?"
    words = " ".join(f"{code or type(error).__name__}: {error}".split())
    words = words.removesuffix(": None")
    if not code:
        return f"{words}; {_unanswered(error)}"
    bucket = uri.removeprefix("s3://").partition("/")[0]
    remedy = next((text for codes, text in _REMEDIES.items() if code in codes), "")
    default = "the store is intact, run again when the cause is gone"
    return f"{words}; {remedy.format(bucket=bucket, need=need, rights=rights) or default}"


def _unanswered(error: BaseException) -> str:
    """What to do where no server said anything, or nothing of the S3 protocol."""
    default = f"the connection failed: {_INTACT}"
    return next((remedy for kinds, remedy in _UNANSWERED if isinstance(error, kinds)), default)
