"""Whether processes of this machine can reach each other over loopback."""

from __future__ import annotations

import socket

__all__ = ["loopback_fault"]

_PATIENCE_SECONDS = 2.0


def loopback_fault() -> str:
    """Why nothing can be reached at 127.0.0.1; "" where it can."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=_PATIENCE_SECONDS),
        ):
            return ""
    except OSError as error:
        return error.strerror or str(error)
