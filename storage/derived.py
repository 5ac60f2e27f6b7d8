"""Files that are derived from a snapshot and made when they are first needed: never data.

They lie beside the artifact's parts, in ``derived/{what}-{checksum of what is in force}/``; of an
object store, on this machine, in the store's local folder. A sealed ``made.json`` names each file
with its size and checksum. The folder is filled under another name and then renamed, so that it is
there whole or not at all; of two makers the first wins, and both have made the same. What is
missing, of another version, or not what made.json promises, is made anew. gc removes a folder with
the last snapshot it is derived from; who has its files mapped keeps them.

No writer is announced to gc for them: nothing that a snapshot names is touched.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.views import ReadableArtifact
from reelvec.storage.errors import StoreError
from reelvec.storage.places.failures import explained
from reelvec.storage.places.part_cache import CacheOptions
from reelvec.storage.roots import Root
from reelvec.storage.sealing import checksum_of_file, seal, unseal

__all__ = ["Derived", "Stale", "derive", "forget_derived", "note", "noted", "stale_of"]

_VERSION = 2
"""Raised when what a folder of any kind holds changes: 2 has which rows have no vector."""
_MADE = "made.json"
_MAKING = ".making-"
_DAY = 86_400.0
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""Of a store; the cache may lie elsewhere."""
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Derived:
    """A folder whose files are what was made, and what its maker noted (plain JSON values)."""

    folder: Path
    facts: Facts


@dataclass(frozen=True, slots=True)
class Stale:
    """A folder of derived files that no snapshot needs any more."""

    folder: Path
    files: tuple[str, ...]
    """Below the artifact's folder."""
    bytes: int


def derive(snapshot: Snapshot, *, what: str, make: Callable[[Path], Facts]) -> Derived:
    """The derived files called `what` of a snapshot, their bytes checked, made if need be.

    Where the store cannot be written by this user they are kept in the cache of local copies.

    Args:
        snapshot: what they are derived from, and nothing else.
        what: their name, e.g. vectors; a lower-case word.
        make: fills the empty folder it is given, and says what it wants noted.

    Raises:
        StoreError: neither the store nor the cache can be written.
    """
    artifact = snapshot.artifact
    name = f"{what}-{snapshot.checksum}"
    beside, instead = _beside(artifact), _instead(artifact)
    for folder in (beside / name, instead / name):
        facts = _facts_of(folder)
        if facts is not None:
            return Derived(folder, facts)
    try:
        return _made(beside / name, make)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
    with explained("write", path=instead):
        return _made(instead / name, make)


def note(artifact: ReadableArtifact, what: str, facts: Facts) -> None:
    """Keep how something is to be derived from any snapshot of an artifact; the last one stands.

    Raises:
        StoreError: neither the store nor the cache can be written.
    """
    try:
        _write_note(_beside(artifact), what, facts)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        with explained("write", path=_instead(artifact)):
            _write_note(_instead(artifact), what, facts)


def noted(artifact: ReadableArtifact, what: str) -> Facts | None:
    """What `note` kept last; None: nothing that can be read."""
    found: list[tuple[float, Facts]] = []
    for folder in (_beside(artifact), _instead(artifact)):
        path = folder / f"{what}.json"
        try:
            found.append((path.stat().st_mtime, unseal(path.read_bytes(), path=str(path))))
        except (OSError, ValueError):
            continue
    return max(found, key=lambda one: one[0])[1] if found else None


def _write_note(folder: Path, what: str, facts: Facts) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_MAKING}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        path.write_bytes(seal(facts))
        path.replace(folder / f"{what}.json")
    finally:
        path.unlink(missing_ok=True)


def forget_derived(root: Root, artifact: Artifact) -> None:
    """Remove all that was derived from any snapshot, here and in this user's cache, and is made.

    Who has files of it mapped keeps them; a maker that is at work fails.
    """
    for folder in (root.local_folder / layout.derived(artifact.folder), _instead(artifact)):
        if not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def _beside(artifact: ReadableArtifact) -> Path:
    return artifact.root.local_folder / layout.derived(artifact.folder)


def _instead(artifact: ReadableArtifact) -> Path:
    """Where they are kept of a store that cannot be written."""
    return CacheOptions.from_environment().folder / "derived" / artifact.fingerprint


def _made(folder: Path, make: Callable[[Path], Facts]) -> Derived:
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.parent / f"{_MAKING}{os.getpid()}-{secrets.token_hex(8)}"
    making.mkdir()
    try:
        facts = dict(make(making))
        files = {
            path.name: [path.stat().st_size, checksum_of_file(path)]
            for path in sorted(making.iterdir())
        }
        body = {"version": _VERSION, "files": files, "facts": facts}
        (making / _MADE).write_bytes(seal(body))
        if folder.exists() and _facts_of(folder) is None:  # damaged, or of another version
            aside = folder.parent / f"{_MAKING}{os.getpid()}-{secrets.token_hex(8)}"
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            making.rename(folder)
        except OSError as error:
            if error.errno not in _TAKEN:  # else another maker was first: the same bytes
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    found = _facts_of(folder)
    if found is None:
        raise StoreError(
            f"{folder} was made and is damaged already; `reelvec doctor` looks at the disk",
            path=str(folder),
        )
    return Derived(folder, found)


def _facts_of(folder: Path) -> Facts | None:
    """What was noted of a folder whose files are all there, byte by byte; None: they are not."""
    try:
        body = unseal((folder / _MADE).read_bytes(), path=str(folder / _MADE))
        if body["version"] != _VERSION:
            return None
        for name, (size, checksum) in body["files"].items():
            path = folder / name
            if path.stat().st_size != size or checksum_of_file(path) != checksum:
                return None
    except (OSError, KeyError, ValueError):
        return None
    facts: Facts = body["facts"]
    return facts


def stale_of(root: Root, artifact: Artifact) -> Iterator[Stale]:
    """Folders derived from snapshots that are gone, and what killed makers left a day ago."""
    folder = root.local_folder / layout.derived(artifact.folder)
    if not folder.is_dir() or folder.is_symlink():
        return
    kept = {artifact.at(number).checksum for number in artifact.numbers()}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            continue  # none of ours
        if path.name.startswith(_MAKING):
            gone = time.time() - path.stat().st_mtime > _DAY
        else:
            gone = path.name.rpartition("-")[2] not in kept
        if gone:
            files = sorted(file for file in path.iterdir() if file.is_file())
            names = tuple(f"{layout.DERIVED}/{path.name}/{file.name}" for file in files)
            yield Stale(path, names, sum(file.stat().st_size for file in files))
