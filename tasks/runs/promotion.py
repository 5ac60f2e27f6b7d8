"""Which tables `current` and tags stand for: promote, tag, roll back; nothing is copied."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from reelvec.storage.commits.aliases import (
    CURRENT,
    REMOVED,
    ROLLED_BACK,
    AliasRecord,
    alias_in_force,
    alias_names,
    checked_alias,
    move_alias,
    target_before,
)
from reelvec.storage.errors import AliasError, StoreError
from reelvec.storage.naming import choose_run, places_of
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import list_runs

__all__ = [
    "Moved",
    "Tag",
    "list_tags",
    "name_tables",
    "promote",
    "rollback",
    "tag",
    "target_words",
    "untag",
]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of an alias."""

    store: str
    before: AliasRecord | None
    """None: it stood for nothing."""
    after: AliasRecord
    """What it stands for now."""

    @property
    def changed(self) -> bool:
        """Whether it stands for something else than before."""
        return self.before is None or self.before.number != self.after.number

    @property
    def words(self) -> str:
        """What came of it, in a few words."""
        after = self.after
        if not after.run:
            return f"{after.alias}: removed"
        said = f"{after.alias}: {target_words(after)}"
        return said if self.changed else f"{said}, as before"

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it, and as an event carries it."""
        before = None if self.before is None else dataclasses.asdict(self.before)
        return {
            "store": self.store,
            "changed": self.changed,
            "before": before,
            "after": dataclasses.asdict(self.after),
        }


@dataclass(frozen=True, kw_only=True)
class Tag:
    """An alias as it is listed."""

    alias: str
    record: AliasRecord | None
    """None: it cannot be followed."""
    wrong: str = ""
    """Why not."""


def target_words(record: AliasRecord) -> str:
    """What a record stands for, in a few words."""
    if not record.run:
        return "nothing"
    number = record.artifacts["embeddings"][1]
    at = "followed" if record.follows else f"tables {number}"
    return f"{record.name} ({record.run}), {at}"


def name_tables(
    root: Root,
    alias: str,
    run: str | None,
    *,
    change: str,
    why: str = "",
    follows: bool = False,
    after: int | None = None,
) -> Moved:
    """Let an alias stand for the tables of a run, as they are read now.

    Args:
        root: the store.
        alias: the name.
        run: a run's name, its identifier or another alias; None: what is searched.
        change: how it comes to it.
        why: in the words of who does it.
        follows: what is published for the run later is seen too.
        after: the number of the record that was in force when this was decided; None: any.

    Raises:
        MissingArtifactError: no such run, it has no tables, or they are lost.
        AliasError: somebody else has moved it since `after`.
    """
    chosen = choose_run(root, run)
    record = AliasRecord(
        alias=alias,
        change=change,
        why=why,
        run=chosen.record.identifier,
        name=chosen.record.name,
        artifacts=places_of(root, chosen.record, as_ended=chosen.as_ended),
        follows=follows,
    )
    before = _before(root, alias)
    if before is not None and before.target == record.target:
        return Moved(store=root.uri, before=before, after=before)
    return Moved(store=root.uri, before=before, after=move_alias(root, record, after=after))


def promote(store: str, run: str, *, why: str = "", follows: bool = False) -> Moved:
    """Let `current`, which is searched, served and scored, stand for the tables of a run.

    Raises:
        MissingArtifactError: no such run, it has no tables, or they are lost.
    """
    root = open_root(store)
    return name_tables(root, CURRENT, run, change="promoted", why=why, follows=follows)


def tag(
    store: str,
    alias: str,
    run: str | None = None,
    *,
    why: str = "",
    follows: bool = False,
    moves: bool = False,
) -> Moved:
    """Give the tables of a run a name of their own.

    Args:
        store: its root.
        alias: the name.
        run: a run's name, its identifier or another alias; None: what is searched.
        why: in the words of who does it.
        follows: what is published for the run later is seen too.
        moves: a tag that is set already may be moved.

    Raises:
        AliasError: no tag can be called so, or it stands for something else already.
        MissingArtifactError: no such run, it has no tables, or they are lost.
    """
    root = open_root(store)
    if checked_alias(alias) == CURRENT:
        raise AliasError("(current) is what is searched: `reelvec promote RUN` moves it")
    if any(record.name == alias for record in list_runs(root)):
        raise AliasError(f"a run is called ({alias}) already: give the tag another name")
    if not moves and (there := alias_in_force(root, alias)) is not None:
        raise AliasError(
            f"the tag ({alias}) stands for {target_words(there)}: give another name, or --move"
        )
    return name_tables(root, alias, run, change="tagged", why=why, follows=follows)


def untag(store: str, alias: str, *, why: str = "") -> Moved:
    """Let a tag stand for nothing; what it alone kept goes with the next gc.

    `current` too: then the last run that has tables is searched.

    Raises:
        AliasError: no such tag is set.
    """
    root = open_root(store)
    before = alias_in_force(root, checked_alias(alias))
    if before is None:
        there = ", ".join(alias_names(root)) or "none"
        raise AliasError(f"no tag ({alias}) is set in the store ({store}); there are: {there}")
    record = AliasRecord(alias=alias, change=REMOVED, why=why)
    return Moved(store=root.uri, before=before, after=move_alias(root, record))


def rollback(
    store: str, *, alias: str = CURRENT, number: int | None = None, why: str = ""
) -> Moved:
    """Let an alias stand again for what it stood for before, as long as gc has kept that.

    Args:
        store: its root.
        alias: which.
        number: of the record whose target is wanted; None: the last other one.
        why: in the words of who does it.

    Raises:
        AliasError: there is nothing before, or its run was dropped.
        MissingArtifactError: gc has removed its tables.
    """
    root = open_root(store)
    target = target_before(root, checked_alias(alias), number=number)
    if all(run.identifier != target.run for run in list_runs(root, name=target.name)):
        raise AliasError(
            f"the run ({target.name}, {target.run}) that ({alias}) stood for was dropped:"
            " `reelvec promote RUN` names another"
        )
    record = dataclasses.replace(
        target, change=ROLLED_BACK, why=why, restores=target.number, number=0
    )
    before = _before(root, alias)
    return Moved(store=root.uri, before=before, after=move_alias(root, record))


def list_tags(store: str) -> list[Tag]:
    """Every alias that is set, `current` first."""
    root = open_root(store)
    listed = []
    for name in alias_names(root):
        try:
            record = alias_in_force(root, name)
        except StoreError as error:
            listed.append(Tag(alias=name, record=None, wrong=str(error)))
            continue
        if record is not None:
            listed.append(Tag(alias=name, record=record))
    return listed


def _before(root: Root, alias: str) -> AliasRecord | None:
    """What it stands for; one that is damaged is about to be named anew."""
    try:
        return alias_in_force(root, alias)
    except AliasError:
        return None
