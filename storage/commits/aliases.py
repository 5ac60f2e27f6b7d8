"""Aliases: names that stand for the tables of a run, as numbered records that are created once.

``aliases/{alias}/{n}.json``: the record with the largest number is in force, all others are its
history. Moving an alias creates the next number, so that a reader sees the one target or the other,
whatever dies, on object stores too. What the records in force and within retention name, gc leaves
(`kept_by_aliases`, asked once more after gc wrote down what it is about to delete).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import AliasError, IntegrityError, MissingArtifactError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import WITH_ALIASES, stamp_format

__all__ = [
    "CURRENT",
    "DAMAGED",
    "REMOVED",
    "REWRITTEN",
    "ROLLED_BACK",
    "AliasRecord",
    "Places",
    "alias_in_force",
    "alias_names",
    "alias_records",
    "checked_alias",
    "kept_by_aliases",
    "mend_alias",
    "move_alias",
    "target_before",
]

CURRENT = "current"
"""The alias that search, serve, evaluate, exports and reports follow where no run is named."""
ROLLED_BACK = "rolled back"
REWRITTEN = "rewritten"
"""To the same tables without rows that were forgotten."""
REMOVED, DAMAGED = "removed", "damaged"
"""Changes that leave an alias without a target."""

Places = Mapping[str, tuple[str, int]]
"""Kind of artifact -> (fingerprint, snapshot number)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasRecord:
    """What an alias stands for since `when`; `number` 0: not written yet."""

    alias: str
    change: str
    """How it came to it: promoted, tagged, kept true, rolled back, rewritten, removed; damaged."""
    why: str = ""
    """In the words of who did it."""
    run: str = ""
    """Identifier of the run; "": the alias stands for nothing."""
    name: str = ""
    """Of that run."""
    artifacts: Places = dataclasses.field(default_factory=dict)
    """The snapshots it stood for when it was written."""
    follows: bool = False
    """It stands for the latest snapshots of these artifacts, not for the numbers."""
    restores: int = 0
    """Of a roll-back: the number of the record whose target it took; where rows were forgotten, of
    the record before, whose tables are gone."""
    when: str = ""
    """ISO 8601, with time zone."""
    number: int = 0

    @property
    def target(self) -> tuple[str, frozenset[tuple[str, tuple[str, int]]], bool]:
        """What it stands for, to compare."""
        return self.run, frozenset(self.artifacts.items()), self.follows


def checked_alias(name: str) -> str:
    """The name itself.

    Raises:
        AliasError: no alias may be called so.
    """
    if not layout.is_alias(name):
        raise AliasError(
            f"no tag can be called ({name}): up to 64 small letters, digits, dots, dashes and"
            " underscores, the first a letter or digit; e.g. before-summer"
        )
    return name


def alias_names(root: Root) -> list[str]:
    """Every alias that ever was, `current` first."""
    names = [name for name in root.list(layout.ALIASES) if layout.is_alias(name)]
    return sorted(names, key=lambda name: (name != CURRENT, name))


def alias_in_force(root: Root, alias: str) -> AliasRecord | None:
    """What the alias stands for; None: it was never set, or was removed.

    Raises:
        AliasError: its last record is damaged; says what brings it back.
    """
    number = _last_number(root, alias)
    if not number:
        return None
    try:
        record = _read(root, alias, number)
    except IntegrityError as error:
        anew = "promote RUN" if alias == CURRENT else f"tag {alias} RUN --move"
        raise AliasError(
            f"the record {error.path} cannot be read, so that it is not known what ({alias}) stands"
            f" for: `reelvec {anew}` names it anew, `reelvec rollback --alias {alias}` goes back to"
            " what it was before; `reelvec runs` lists the runs",
            path=error.path,
        ) from error
    return record if record.run else None


def alias_records(root: Root, alias: str) -> list[AliasRecord]:
    """All its records, oldest first; a damaged one says nothing but that."""
    records = []
    for number in range(1, _last_number(root, alias) + 1):
        try:
            records.append(_read(root, alias, number))
        except (IntegrityError, MissingArtifactError):
            records.append(_unknown(alias, number))
    return records


def move_alias(root: Root, record: AliasRecord, *, after: int | None = None) -> AliasRecord:
    """Write the alias' next record; returns it with its number and time.

    The snapshots it names are pinned meanwhile, so that gc either spares them or is seen.

    Args:
        root: the store.
        record: what the alias shall stand for.
        after: the number that was in force when that was decided (0: none); None: whatever is.

    Raises:
        AliasError: somebody else has moved it since `after`.
        MissingArtifactError: a snapshot is gone.
        StoreError: the store cannot be written; the alias stays.
    """
    stamp_format(root, WITH_ALIASES)
    with ExitStack() as pins:
        for kind, (fingerprint, number) in record.artifacts.items():
            artifact = Artifact(root, kind=kind, fingerprint=fingerprint)
            pins.enter_context(artifact.pinned(number))
            root.sync(layout.snapshot(artifact.folder, number))
        while True:
            last = _last_number(root, record.alias)
            if after is not None and last != after:
                raise _moved(root, record.alias, last)
            if last:  # no later number may outlast it
                root.sync(layout.alias(record.alias, last))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            written = dataclasses.replace(record, number=last + 1, when=now)
            try:
                path = layout.alias(record.alias, written.number)
                root.put_new(path, seal(dataclasses.asdict(written)))
            except FileExistsError:
                continue  # another was faster: the last word is the later number's
            return written


def target_before(root: Root, alias: str, *, number: int | None = None) -> AliasRecord:
    """The record whose target a roll-back takes: the last other one before that in force.

    After a roll-back the next one goes further back.

    Args:
        root: the store.
        alias: which.
        number: of the record whose target is wanted; None: the last other one.

    Raises:
        AliasError: there is none.
    """
    records = alias_records(root, alias)
    if not records:
        raise AliasError(f"({alias}) was never set: `reelvec promote RUN` sets what is searched")
    last = records[-1]
    named = [record for record in records if record.run]
    if number is not None:
        found = [record for record in named if record.number == number]
    else:
        start = last.restores or last.number
        found = [r for r in named if r.number < start and r.target != last.target]
    if not found:
        there = ", ".join(str(record.number) for record in named) or "none"
        which = "before what it stands for now" if number is None else f"with the number {number}"
        raise AliasError(
            f"({alias}) has no record {which}; there are: {there} (`reelvec history` shows them)"
        )
    return found[-1]


def kept_by_aliases(root: Root, *, keep: int, seconds: float) -> frozenset[tuple[str, int]]:
    """(fingerprint, number) of snapshots that gc leaves for aliases.

    Those of each record in force, and those a roll-back can reach: of the newest `keep` records of
    an alias that is set, and of records that were in force less than `seconds` ago.

    Raises:
        IntegrityError: one of these is damaged, so that what must be kept is not known.
    """
    kept: set[tuple[str, int]] = set()
    for alias in alias_names(root):
        last = _last_number(root, alias)
        is_set = bool(last) and bool(_read(root, alias, last).run)
        for number in range(last, 0, -1):
            is_recent = number == last or (is_set and last - number < keep)
            if not is_recent and root.age_seconds(layout.alias(alias, number + 1)) >= seconds:
                break
            kept |= set(_read(root, alias, number).artifacts.values())
    return frozenset(kept)


def mend_alias(root: Root, path: str) -> str:
    """What a damaged record is replaced by, once it is set aside; says so.

    Its number stays taken. Where it was in force, the alias goes back to what it was before.
    """
    alias, number = path.split("/")[1], layout.number_of(path.rpartition("/")[2]) or 0
    said = "its number is kept, its target is not known"
    if number == _last_number(root, alias):
        why = f"record {number} was damaged"
        try:
            before = target_before(root, alias)
            back = dataclasses.replace(before, change=ROLLED_BACK, why=why, restores=before.number)
            said = f"({alias}) stands for what it did before: {before.name}, {before.run}"
        except AliasError:
            back = AliasRecord(alias=alias, change=REMOVED, why=why)
            said = f"({alias}) stands for nothing now: name it anew"
        move_alias(root, back, after=number)
    root.delete(path)
    root.put_new(path, seal(dataclasses.asdict(_unknown(alias, number))))
    return said


def _last_number(root: Root, alias: str) -> int:
    """The largest number, whatever a listing hides; 0: none."""
    names = root.list(f"{layout.ALIASES}/{alias}")  # a hint: probing has the last word
    number = max([layout.number_of(name) or 0 for name in names], default=0)
    while root.exists(layout.alias(alias, number + 1)):
        number += 1
    return number


def _read(root: Root, alias: str, number: int) -> AliasRecord:
    path = layout.alias(alias, number)
    body = unseal(root.read(path), path=path)
    known = {field.name for field in dataclasses.fields(AliasRecord)}
    try:
        places = {kind: (str(place[0]), int(place[1])) for kind, place in body["artifacts"].items()}
        record = AliasRecord(
            **{k: v for k, v in body.items() if k in known} | {"artifacts": places}
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise IntegrityError(f"{path} is no record of an alias ({error!r})", path=path) from error
    if record.run and "embeddings" not in places:
        raise IntegrityError(f"{path} names a run and no tables of it", path=path)
    return record


def _unknown(alias: str, number: int) -> AliasRecord:
    return AliasRecord(alias=alias, change=DAMAGED, number=number)


def _moved(root: Root, alias: str, number: int) -> AliasError:
    record = alias_records(root, alias)[number - 1]
    return AliasError(
        f"({alias}) was moved meanwhile: it was {record.change} at {record.when} (record {number},"
        f" {record.name or 'nothing'}), so it is left as it is; look at `reelvec history`, and ask"
        " again"
    )
