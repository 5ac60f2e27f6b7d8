"""Which format a store is in, so that no program reads or writes what it does not understand.

A store is of format n when ``format/{n:08d}.json`` is there and n + 1 is not. These records are
created once, like all others; a store without any is of format 1, which is older than they are.
What a format is, and when it is raised: docs/store-format.md.
"""

from __future__ import annotations

from contextlib import suppress

from reelvec.storage import layout
from reelvec.storage.errors import FormatError
from reelvec.storage.places.contract import Root
from reelvec.storage.sealing import seal

__all__ = [
    "FORMAT",
    "PLAIN",
    "WITH_ALIASES",
    "WITH_FORGOTTEN",
    "WITH_LAYERS",
    "check_format",
    "format_of_store",
    "stamp_format",
]

FORMAT = 4
"""The newest format this program knows; it reads every older one."""
PLAIN, WITH_ALIASES, WITH_FORGOTTEN, WITH_LAYERS = 1, 2, 3, 4
"""What every store is at least; from its first alias on, since programs of before would collect
what it stands for; from its first forgotten video on, since they would take it in again; from its
first layers on, which they cannot read."""


def format_of_store(root: Root) -> int:
    """The store's format, found by probing (no listing is trusted); a newer one than ours too."""
    number = FORMAT + 1 if root.exists(layout.store_format(FORMAT + 1)) else PLAIN
    while root.exists(layout.store_format(number + 1)):
        number += 1
    return number


def check_format(root: Root) -> None:
    """Refuses a store of a newer format.

    Raises:
        FormatError: it is one.
    """
    if not root.exists(layout.store_format(FORMAT + 1)):
        return
    raise FormatError(
        f"the store at {root.uri} is of format {format_of_store(root)}, and this reelvec knows "
        f"formats up to {FORMAT}: it could misread or harm the store; use the reelvec that wrote "
        "it, or a newer one (pip install --upgrade reelvec)",
        path=root.uri,
    )


def stamp_format(root: Root, number: int = PLAIN) -> None:
    """Says the format of a store that is about to be written, where nobody has; looks once more.

    Several first writers may do it at once: each record is created once and all say the same.

    Args:
        root: the store.
        number: the least format that what is about to be written is of.

    Raises:
        FormatError: somebody has raised the format since the store was opened.
        StoreError: the store cannot be written.
    """
    check_format(root)
    for one in range(PLAIN, number + 1):
        path = layout.store_format(one)
        if not root.exists(path):
            with suppress(FileExistsError):  # another first writer was faster
                root.put_new(path, seal({"format": one}))
