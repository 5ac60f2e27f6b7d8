"""The server that tests of objects share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an S3 server with an empty bucket."""
    with s3_server.s3_server() as url:
        s3_server.make_bucket(url)
        yield url
