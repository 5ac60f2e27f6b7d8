"""Reads every byte of a store and says what is damaged, and which inputs must be done again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.receipts import Receipt, read_receipt
from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError
from reelvec.storage.frames.formats import SUFFIXES, open_reader
from reelvec.storage.frames.sound import SoundShardReader
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord, latest_run
from reelvec.storage.sealing import unseal

__all__ = ["Damage", "lost_of_last_run", "verify_artifact", "verify_records", "verify_store"]

_BLOCK = 1 << 22
"""Bytes of a part that are read at once; of a far store 32 times as many."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged or missing file.

    Attributes:
        kind: artifact kind, "runs", "drops", "forgotten", "aliases" or "format".
        fingerprint: the artifact's ("" for the others).
        path: the file, below the root.
        what: what is wrong with it.
        keys: inputs in force in the latest snapshot that must be done again.
        part: the part (below the artifact's folder) that `publish(replace=[part])` takes out of
            force, so that the next run does exactly these again; "" where no part is concerned.
    """

    kind: str
    fingerprint: str
    path: str
    what: str
    keys: tuple[str, ...] = ()
    part: str = ""


def verify_store(root: Root) -> list[Damage]:
    """Every damage of artifacts, runs and format records, and what the last run made and is gone.

    An empty list is a healthy store.

    Raises:
        RefusedError: the place refuses to be read, so that nothing is known.
    """
    damages = [damage for artifact in Artifact.all(root) for damage in verify_artifact(artifact)]
    return [*damages, *verify_records(root), *lost_of_last_run(root)]


def verify_records(root: Root) -> list[Damage]:
    """Damages of what lies beside the artifacts: records of runs, of formats, and of aliases.

    Raises:
        RefusedError: the place refuses to be read, so that nothing is known.
    """
    folders = [layout.RUNS, layout.DROPS, layout.FORGOTTEN, layout.FORMATS]
    folders += [f"{layout.ALIASES}/{alias}" for alias in root.list(layout.ALIASES)]
    paths = [f"{folder}/{name}" for folder in folders for name in root.list(folder)]
    found = zip(paths, at_once(root, partial(_unsealed, root), paths), strict=True)
    return [Damage(path.split("/")[0], "", path, what) for path, what in found if what]


def lost_of_last_run(root: Root) -> list[Damage]:
    """Artifacts and snapshots the last run names and the store has not: a run makes them again.

    A snapshot that gc or a repair retired is not lost: a later one has taken its place.
    """
    try:
        run = latest_run(root)
    except RefusedError:
        raise
    except StoreError:
        return []  # that record is damaged, which is found by itself
    return list(_lost(root, run)) if run is not None else []


def _lost(root: Root, run: RunRecord) -> Iterator[Damage]:
    for kind, (fingerprint, number) in sorted(run.artifacts.items()):
        artifact = Artifact(root, kind=kind, fingerprint=fingerprint)
        path = layout.snapshot(artifact.folder, number)
        newest = max(_numbers(artifact), default=0)
        if number > newest and not root.exists(path):  # a listing alone proves no absence
            what = f"is missing, and so is what it held: the last run ({run.name}) names it"
            yield Damage(kind, fingerprint, path, what)


def verify_artifact(artifact: Artifact) -> list[Damage]:
    """Checks identity, snapshots, receipts, parts, pins and removals of one artifact."""
    return list(_damages(artifact))


def _damages(artifact: Artifact) -> Iterator[Damage]:
    kind, fingerprint, folder = artifact.kind, artifact.fingerprint, artifact.folder
    for path, what in (*_identity(artifact), *_small_files(artifact)):
        yield Damage(kind, fingerprint, path, what)
    snapshots: list[Snapshot] = []
    for number in _numbers(artifact):
        try:
            snapshots.append(artifact.at(number))
        except RefusedError:
            raise
        except (StoreError, KeyError, TypeError) as error:
            yield Damage(kind, fingerprint, layout.snapshot(folder, number), str(error))
    entries = {entry.part: entry for snapshot in snapshots for entry in snapshot.entries}
    in_force = {entry.part: entry for entry in snapshots[-1].entries} if snapshots else {}
    look = partial(_entry_damages, artifact, in_force=in_force)
    for found in at_once(artifact.root, look, entries.values()):
        yield from found
    known = {layout.receipt_of(part) for part in entries}
    receipts = [f"receipts/{name}" for name in artifact.root.list(f"{folder}/receipts")]
    orphans = [path for path in receipts if path not in known]
    for found in at_once(artifact.root, partial(_orphan_damages, artifact), orphans):
        yield from found


def _identity(artifact: Artifact) -> Iterator[tuple[str, str]]:
    path = layout.identity(artifact.folder)
    try:
        body = unseal(artifact.root.read(path), path=path)
    except RefusedError:
        raise
    except StoreError as error:
        yield path, str(error)
        return
    if layout.fingerprint(body) != artifact.fingerprint:
        yield path, "holds another identity than its folder's name says"


def _small_files(artifact: Artifact) -> Iterator[tuple[str, str]]:
    root, folders = artifact.root, [f"{artifact.folder}/{name}" for name in ("removals", "pins")]
    paths = [f"{folder}/{name}" for folder in folders for name in root.list(folder)]
    found = zip(paths, at_once(root, partial(_unsealed, root), paths), strict=True)
    yield from ((path, what) for path, what in found if what)


def _unsealed(root: Root, path: str) -> str:
    """What is wrong with a sealed file; "": nothing."""
    try:
        unseal(root.read(path), path=path)
    except RefusedError:
        raise
    except StoreError as error:
        if not isinstance(error, MissingArtifactError):  # a pin may be gone by now
            return str(error)
    return ""


def _numbers(artifact: Artifact) -> list[int]:
    """Snapshots that should be there; where the removals are damaged, those that are."""
    try:
        return artifact.numbers()
    except RefusedError:
        raise
    except StoreError:
        names = artifact.root.list(f"{artifact.folder}/snapshots")
        return sorted(layout.number_of(name) or 0 for name in names)


def _entry_damages(
    artifact: Artifact, entry: Entry, *, in_force: Mapping[str, Entry]
) -> list[Damage]:
    kind, fingerprint, folder = artifact.kind, artifact.fingerprint, artifact.folder
    path = layout.receipt_of(entry.part)
    receipt: Receipt | None = None
    what = ""
    try:
        receipt = read_receipt(artifact.root, folder, path)
        if receipt.seal != entry.seal:
            receipt, what = None, "is not the receipt that was published"
    except RefusedError:
        raise
    except StoreError as error:
        what = str(error)
    part_what = _part_damage(artifact, entry.part, size=entry.bytes, checksum=entry.checksum)
    keys: tuple[str, ...] = ()
    if entry.part in in_force and (what or part_what):
        named = receipt.keys if receipt else _keys_in(artifact, entry.part)
        keys = tuple(key for key in named if key not in in_force[entry.part].dropped)
    damaged = ((path, what), (entry.part, part_what))
    return [
        Damage(kind, fingerprint, f"{folder}/{file}", why, keys, entry.part)
        for file, why in damaged
        if why
    ]


def _orphan_damages(artifact: Artifact, path: str) -> list[Damage]:
    """Damage in what no snapshot holds: nothing is lost, but it will not be adopted."""
    kind, fingerprint, folder = artifact.kind, artifact.fingerprint, artifact.folder
    try:
        receipt = read_receipt(artifact.root, folder, path)
    except RefusedError:
        raise
    except StoreError as error:
        return [Damage(kind, fingerprint, f"{folder}/{path}", str(error))]
    what = _part_damage(artifact, receipt.part, size=receipt.bytes, checksum=receipt.checksum)
    return [Damage(kind, fingerprint, f"{folder}/{receipt.part}", what)] if what else []


def _part_damage(artifact: Artifact, part: str, *, size: int, checksum: str) -> str:
    """What is wrong with its bytes in the store; copies on this machine are left as they are."""
    root, path = artifact.root, f"{artifact.folder}/{part}"
    try:
        came, found = _bytes_in(root, path, most=size + 1)
        if came != size:
            return f"has {root.size(path)} bytes, its receipt promises {size}"
    except MissingArtifactError:
        return "is missing"
    except RefusedError:
        raise  # which says nothing of the part
    except StoreError as error:
        return str(error)
    return "" if found == checksum else "differs from its receipt's checksum"


def _bytes_in(root: Root, path: str, *, most: int) -> tuple[int, str]:
    """How many bytes a file begins with, and their xxh3-128; read where it lies, in blocks."""
    digest, came = xxhash.xxh3_128(), 0
    block = memoryview(bytearray(min(most, _BLOCK)))
    for start in range(0, most, _BLOCK):
        piece = block[: most - start]
        got = root.read_into(path, start=start, out=piece)
        digest.update(piece[:got])
        came += got
        if got < len(piece):
            break
    return came, digest.hexdigest()


def _keys_in(artifact: Artifact, part: str) -> tuple[str, ...]:
    """Keys of the rows in a part whose receipt is lost, as far as the part itself names them."""
    path: Path = artifact.root.local_path(f"{artifact.folder}/{part}")
    try:
        if artifact.kind == "audio":
            return SoundShardReader(path).keys
        if path.suffix in SUFFIXES.values():
            return open_reader(path).keys
        if path.suffix == ".parquet":
            first = pq.read_schema(path).names[0]
            return tuple(map(str, pq.read_table(path, columns=[first])[first].to_pylist()))
    except (StoreError, OSError, pa.ArrowException):
        return ()
    return ()
