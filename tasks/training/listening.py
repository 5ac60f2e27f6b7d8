"""The store through which nodes meet: it listens on one address, the one that is named."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from reelvec.configs.addresses import Address
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.processes import connect

__all__ = ["listen", "reach"]

_PATIENCE_SECONDS = 5.0
_STORE_PATIENCE = timedelta(seconds=60)


def reach(address: Address) -> tuple[TCPStore, str] | None:
    """The first node's store, and the address of this machine that reaches it; None: not there."""
    with suppress(OSError, RuntimeError):
        with socket.create_connection(address, timeout=_PATIENCE_SECONDS) as tried:
            own = str(tried.getsockname()[0])
        return connect(address.host, address.port), own
    return None


def listen(address: Address | None) -> tuple[Address, TCPStore]:
    """A store on this address alone; torch by itself listens on every one."""
    if address is None:
        raise TrainingError("several nodes meet at an address, and there is none")
    try:
        family, _, _, _, found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        host = str(found[0])
        _check_reachable(address, host)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found)
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        raise TrainingError(
            f"the first node cannot listen at ({address}): {error}; set train.address to an"
            " address of this machine and a free port"
        ) from error
    store = TCPStore(
        host,
        address.port,
        is_master=True,
        wait_for_workers=False,
        timeout=_STORE_PATIENCE,
        master_listen_fd=listener.detach(),
    )
    return Address(host, address.port), store


def _check_reachable(address: Address, host: str) -> None:
    """A name that this machine takes for itself alone is of no use to the others."""
    named = address.host not in (host, "localhost")
    if named and (host.startswith("127.") or host == "::1"):
        raise TrainingError(
            f"({address.host}) is {host} on the first node (see /etc/hosts), where no other machine"
            " reaches it; set train.address to its address in the network"
        )
