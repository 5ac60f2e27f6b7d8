"""The address at which machines meet: one that is named, never all of them."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MEETING_PORT", "Address", "parse_address"]

MEETING_PORT = 29500
"""Where none is given."""

_FORM = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\s/]+))(?::(?P<port>\d{1,5}))?")
_ALL = {"0.0.0.0", "::", "*", "0"}  # noqa: S104 - these are refused


class Address(NamedTuple):
    """A host, by name or number, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, *, port: int = MEETING_PORT) -> Address:
    """HOST, HOST:PORT or [IPv6]:PORT; `port` where none is given.

    Raises:
        ValueError: of another form, or no single address.
    """
    found = _FORM.fullmatch(text.strip())
    host = (found["six"] or found["host"]) if found else ""
    given = int(found["port"]) if found and found["port"] else port
    if not host or not 0 < given < 1 << 16:
        raise ValueError(f"({text}) is no address; give HOST, HOST:PORT or [IPv6]:PORT")
    if host in _ALL:
        raise ValueError(f"({text}) means every address of the machine; name one of them")
    return Address(host, given)
