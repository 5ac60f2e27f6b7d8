"""On the import path of a program under test: notes each address beyond this machine it asks for.

Python imports a module of this name at its start, in every process that inherits the path.
"""

import ipaddress
import os
import socket

_LOG = os.environ.get("REELVEC_TEST_OUTBOUND", "")


def _is_here(host):
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _note(host):
    if not _is_here(host):
        with open(_LOG, "a", encoding="utf-8") as file:
            file.write(f"{host}\n")


def _connecting(original):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _note(address[0])
        return original(self, address)

    return connect


def _looking_up(original):
    def getaddrinfo(host, *arguments, **keywords):
        _note(host)
        return original(host, *arguments, **keywords)

    return getaddrinfo


if _LOG:
    socket.socket.connect = _connecting(socket.socket.connect)
    socket.socket.connect_ex = _connecting(socket.socket.connect_ex)
    socket.getaddrinfo = _looking_up(socket.getaddrinfo)
