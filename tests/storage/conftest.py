"""Tests of storage leave no file, pipe or socket open behind them."""

import gc
import os
import sys
import time
from multiprocessing import forkserver, resource_tracker

import psutil
import pytest

PATIENCE = 10.0  # seconds until a worker that was told to end has closed its sockets
NOT_OURS = ("/dev/", "/proc/", "anon_inode:")
"""What libraries open once and keep: devices, and the kernel's own objects."""
LEASES = "/.writers/"
"""A writer's file is open as long as its root, which the fixture of a test holds longer."""
POOLED = "places"
"""Tests against an object store: its client keeps connections for the next test, on purpose."""


def open_files():
    """{descriptor: what it leads to} of this process, without the kernel's and libraries' own."""
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the listing's own
        if not target.startswith(NOT_OURS) and LEASES not in target:
            found[descriptor] = target
    return found


def kept_on_purpose():
    """Descriptors of what this process shares to its end: zygotes, multiprocessing's helpers."""
    from reelvec.storage.sandbox.zygote import Zygote

    zygotes = [thing for thing in gc.get_objects() if type(thing) is Zygote]
    helpers = (resource_tracker._resource_tracker._fd, forkserver._forkserver._forkserver_alive_fd)
    return {str(zygote._socket.fileno()) for zygote in zygotes} | set(map(str, helpers)) | client()


def client():
    """Descriptors of Prefect's client: its threads reconnect whenever they like.

    Only in a process where a flow ran before; no test of storage connects to anything itself,
    those against an object store aside.
    """
    if "prefect" not in sys.modules:
        return set()
    connections = psutil.Process().net_connections(kind="inet")
    return {str(one.fd) for one in connections if one.raddr and one.raddr.ip == "127.0.0.1"}


@pytest.fixture(autouse=True)
def check_fd_leaks(request):
    """Fail a test after which something is open that was not open before it."""
    if sys.platform != "linux" or POOLED in request.path.parts:
        yield
        return
    before = open_files()
    yield
    until = time.monotonic() + PATIENCE
    while leaked := set(open_files().items()) - set(before.items()):
        gc.collect()  # what nobody holds any more is no leak
        if {descriptor for descriptor, _ in leaked} <= kept_on_purpose():
            return
        if time.monotonic() > until:
            pytest.fail(f"still open: {sorted(leaked)}")
        time.sleep(0.05)
