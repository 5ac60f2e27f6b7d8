"""What changed in a store, when, by which run, and why: read from its records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from reelvec.storage.commits.aliases import AliasRecord, alias_names, alias_records
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.forgotten import forget_records
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, StageRecord, drops, list_runs
from reelvec.tasks.runs.promotion import target_words

__all__ = ["Change", "history"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that happened to a store."""

    when: str
    """ISO 8601."""
    what: str
    """completed or refreshed: a run ended; published: tables of no run that has ended; dropped;
    forgotten or taken back: videos; else what became of an alias: promoted, kept true, rolled back,
    tagged, rewritten, removed."""
    run: str
    """Name of the run."""
    identifier: str
    """Of the run; "": not known."""
    tables: str
    """First digits of the tables' identity, and the number of the snapshot; "": it has none."""
    why: str
    """What a run did, the note of a publication, the words of who moved an alias."""
    alias: str = ""
    number: int = 0
    """Of the alias' record, which `rollback --to` takes; 0: it is none."""

    def to_json(self) -> dict[str, Any]:
        """As `reelvec history --json` prints it."""
        return asdict(self)


def history(store: str, *, name: str | None = None) -> list[Change]:
    """Everything that happened, oldest first, dropped runs included.

    What gc has removed is known by the records of runs and aliases; publications in between are not
    known any more.

    Args:
        store: its root.
        name: of a run or alias, whose changes alone are listed.

    Raises:
        MissingArtifactError: no run or tag was ever called so; says which there are.
        IntegrityError: a record of a run is damaged.
    """
    root = open_root(store)
    runs = list_runs(root, dropped=True)
    changes = [
        *map(_of_run, runs),
        *_publications(root, runs),
        *_drops(root),
        *_forgotten(root),
        *_moves(root),
    ]
    chosen = [one for one in changes if name in (None, one.run, one.alias, one.identifier)]
    if name is not None and not chosen:
        there = dict.fromkeys(filter(None, (n for one in changes for n in (one.run, one.alias))))
        raise MissingArtifactError(
            f"no run or tag is called ({name}) in the store ({root.uri}); there are:"
            f" {', '.join(there) or 'none'}",
            path=root.uri,
        )
    return sorted(chosen, key=lambda one: datetime.fromisoformat(one.when))


def _of_run(run: RunRecord) -> Change:
    stages = "; ".join(filter(None, map(_stage_words, run.stages)))
    return Change(
        when=run.ended or run.started,
        what=run.status,
        run=run.name,
        identifier=run.identifier,
        tables=_tables(run.artifacts.get("embeddings")),
        why=stages or "nothing was to do",
    )


def _stage_words(stage: StageRecord) -> str:
    done = ", ".join(f"{count} {what}" for what, count in stage["counts"].items() if count)
    return done and f"{stage['name']}: {done}"


def _tables(place: tuple[str, int] | None) -> str:
    return "" if place is None else f"{place[0][:8]}@{place[1]}"


def _publications(root: Root, runs: Sequence[RunRecord]) -> Iterator[Change]:
    """Snapshots of tables that no run which has ended names: of a killed run, of compaction."""
    places = [run.artifacts["embeddings"] for run in runs if "embeddings" in run.artifacts]
    names = {place[0]: run for run in runs if (place := run.artifacts.get("embeddings"))}
    for fingerprint, run in names.items():
        with suppress(MissingArtifactError):
            artifact = Artifact.find(root, kind="embeddings", fingerprint=fingerprint)
            for number in artifact.numbers():
                if (fingerprint, number) not in places:
                    snapshot = artifact.at(number)
                    yield Change(
                        when=snapshot.created,
                        what="published",
                        run=run.name,
                        identifier="",
                        tables=_tables((fingerprint, number)),
                        why=snapshot.note,
                    )


def _drops(root: Root) -> Iterator[Change]:
    for drop in drops(root):
        count = f"{len(drop.runs)} runs: " if len(drop.runs) > 1 else ""
        yield Change(
            when=drop.dropped,
            what="dropped",
            run=", ".join(drop.names),
            identifier=drop.runs[0] if len(drop.runs) == 1 else "",
            tables="",
            why=f"{count}gc frees what no other run needs",
        )


def _forgotten(root: Root) -> Iterator[Change]:
    for record in forget_records(root):
        count = f"{len(record.digests)} video{'s' if len(record.digests) > 1 else ''}"
        yield Change(
            when=record.when,
            what=record.change,
            run="",
            identifier="",
            tables="",
            why=f"{count}: {record.why}" if record.why else count,
        )


def _moves(root: Root) -> Iterator[Change]:
    for alias in alias_names(root):
        for record in alias_records(root, alias):
            if record.when:  # of a damaged one nothing is known but that it was
                yield _of_alias(record)


def _of_alias(record: AliasRecord) -> Change:
    place = record.artifacts.get("embeddings")
    stands = f"{record.alias} stands for {target_words(record)}"
    return Change(
        when=record.when,
        what=record.change,
        run=record.name,
        identifier=record.run,
        tables=_tables(place) if record.run else "",
        why=f"{stands}: {record.why}" if record.why else stands,
        alias=record.alias,
        number=record.number,
    )
