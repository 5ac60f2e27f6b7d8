"""The folder of an export: whole under its name, or not there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reelvec.errors import RequestError
from reelvec.storage.places.failures import explained

__all__ = ["FACTS", "check_out", "filled", "write_facts"]

FACTS = "export.json"
"""What an export is of; a folder with such a file is one."""


def check_out(out: Path, *, force: bool) -> None:
    """Refuse to write over what somebody has.

    Args:
        out: the folder that is to be.
        force: one that `reelvec export` wrote may be replaced.

    Raises:
        RequestError: it is no folder, has files of others, or `force` is needed.
    """
    if "://" in str(out) or ":/" in str(out):
        raise RequestError(f"OUT ({out}) must be a folder of this machine; copy it from there")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RequestError(f"OUT ({out}) is there and no folder; name another")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / FACTS).is_file():
        raise RequestError(f"OUT ({out}) holds files that are no export; name another folder")
    if not force:
        raise RequestError(f"OUT ({out}) holds an export; --force replaces it")


@contextmanager
def filled(out: Path, *, force: bool) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends well, and goes when it does not.

    Raises:
        RequestError: see `check_out`.
        RefusedError: the folder cannot be written.
    """
    check_out(out, force=force)
    out = out.absolute()
    making = out.parent / f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}"
    with explained("write", path=making):
        out.parent.mkdir(parents=True, exist_ok=True)
        making.mkdir()
    try:
        yield making
        _sync(making)
        check_out(out, force=force)  # somebody may have been there meanwhile
        with explained("write", path=out):
            if out.exists():
                _replace(out, making)
            else:
                making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """What the export is of, and the files it has with their bytes."""
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({**facts, "files": files}, indent=2, ensure_ascii=False)
    (folder / FACTS).write_text(f"{text}\n", "utf-8")


def _replace(out: Path, making: Path) -> None:
    """The old one steps aside before the new one takes its name: a rename of folders needs that."""
    old = making.with_name(f"{making.name}.old")
    out.rename(old)
    try:
        making.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """A power cut leaves no file under the final name that is named and not there."""
    for path in [*folder.rglob("*"), folder]:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
