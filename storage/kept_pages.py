"""The last page of a store under a name that stays: a copy for people, never data."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from reelvec.storage import layout
from reelvec.storage.places.failures import explained
from reelvec.storage.roots import Root

__all__ = ["LATEST", "keep_copy", "kept_page"]

LATEST = "latest"
"""Of whatever was drawn last."""
_LONGEST = 80


def kept_page(root: Root, name: str) -> Path:
    """Where the last page of this name is kept; of an object store, on this machine.

    Args:
        root: the store.
        name: of a run, in which what no file name may hold becomes a dash; or `LATEST`.
    """
    plain = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[:_LONGEST].strip("-.")
    return root.local_folder / layout.report_page(plain or "run")


def keep_copy(root: Root, page: Path, *, names: Iterable[str]) -> None:
    """Put a page in place of those that these names had; who has one open keeps what it read.

    Raises:
        RefusedError: the disk is full, or the folder may not be written.
    """
    for target in {kept_page(root, name): None for name in names}:
        if target.is_file() and filecmp.cmp(page, target, shallow=False):
            continue
        with explained("write", path=target):
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch = root.new_scratch(target.suffix)
            try:
                shutil.copyfile(page, scratch)
                scratch.replace(target)
            finally:
                scratch.unlink(missing_ok=True)
