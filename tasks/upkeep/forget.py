"""Forget: some videos leave a store for good, with their frames, vectors and captions.

First their ids are written down by a salted hash, so that no run takes them in again
(`storage.forgotten`). Then each artifact is published without them; aliases that stand for older
snapshots which hold them move to what is in force; then these snapshots, and all files that held
the rows, are deleted, the corpus' last: it tells what the others are. Killed at any point, the same
call goes on. At its end everything is looked through once more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.errors import RequestError
from reelvec.storage.at_work import announced, runs_at_work
from reelvec.storage.commits.aliases import (
    REWRITTEN,
    AliasRecord,
    alias_in_force,
    alias_names,
    move_alias,
)
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.derived import forget_derived
from reelvec.storage.errors import BusyError, MissingArtifactError
from reelvec.storage.forgotten import FORGOTTEN, TAKEN_BACK, Forgotten, note_ids
from reelvec.storage.places.sources import forget_files
from reelvec.storage.roots import Root, open_root
from reelvec.storage.upkeep.erasing import remove, rewrite
from reelvec.tasks.upkeep.leftovers import Leftovers, leftovers_of
from reelvec.tasks.upkeep.traces import Traces, traces_of

__all__ = ["Forgetting", "forget", "take_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneFrom:
    """What goes of one artifact."""

    kind: str
    identity: str
    """Its fingerprint."""
    rows: int
    """In force: videos, captions, clips, features, lines of an evaluation."""
    parts: int
    """That held such rows, superseded ones too; rows of others in them are written anew."""
    snapshots: int
    """Older ones that held them."""
    bytes: int
    """Of the files that are deleted."""


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """What was (or, as a plan, would be) forgotten."""

    store: str
    videos: tuple[str, ...]
    before: tuple[str, ...]
    """Those of them that were forgotten already."""
    gone: tuple[GoneFrom, ...]
    tags: tuple[str, ...]
    """Aliases that stood for a snapshot which held them, and stand for what is in force now."""
    files: int
    """Beside artifacts: logs, copies of reports, pages of the gate, damaged or unfinished files."""
    file_bytes: int
    twins: tuple[str, ...]
    """Other videos with the same bytes: their frames stay."""
    trained: tuple[str, ...]
    """Checkpoints that were trained on them: weights stay as they are."""
    sources: tuple[str, ...]
    """Their own files, of this machine as far as they are there: nobody touched them."""

    @property
    def rows(self) -> int:
        """Over all artifacts."""
        return sum(one.rows for one in self.gone)

    @property
    def bytes(self) -> int:
        """Of all files that go."""
        return self.file_bytes + sum(one.bytes for one in self.gone)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return dataclasses.asdict(self) | {"rows": self.rows, "bytes": self.bytes}


def forget(
    store: str,
    videos: Collection[str],
    *,
    why: str = "",
    unclaimed: bool = False,
    dry_run: bool = False,
) -> Forgetting:
    """Remove videos from a store for good.

    Args:
        store: its root.
        videos: their ids, wherever a corpus of the store names them.
        why: in the words of who does it; kept with the record.
        unclaimed: with them, frames and features whose video no corpus of the store has any more:
            of one that left its corpus long ago the store does not know more than that.
        dry_run: only say what would go.

    Raises:
        RequestError: no video is named.
        MissingArtifactError: the store has never had such a video; nothing is done.
        BusyError: somebody writes in the store.
        IntegrityError: something in force is damaged, so that what it holds is not known.
        StoreError: the store cannot be written; the same call goes on where it stopped.
    """
    root, ids = open_root(store), () if unclaimed and not videos else _ids(videos)
    before = Forgotten.of(root).among(ids)
    traces = traces_of(root, ids, unclaimed=unclaimed)
    _check_known(root, ids, known=traces.known | before)
    left = leftovers_of(root, traces.words, pages=bool(traces.erasures))
    tags = _tags(root, traces)
    told = _told(store, ids, before=before, traces=traces, left=left, tags=tags)
    if dry_run:
        return told
    _check_alone(root)
    with announced(root, "forget"):
        if ids:
            note_ids(root, ids, change=FORGOTTEN, why=why)
        _check_alone(root, runs=1)
        left.remove(root)  # first: what names the videos is known by the corpus, which goes last
        _erase(root, traces, note=f"forgot {len(ids)} video{'' if len(ids) == 1 else 's'}", why=why)
        root.forget_copies()
        forget_files()
        again = traces_of(root, ids, unclaimed=unclaimed)
        if again.erasures:
            raise BusyError(
                f"somebody wrote in the store ({store}) meanwhile, so that it holds some of it"
                " again; when that has ended, run the same `reelvec forget` once more",
                path=root.uri,
            )
    return told


def take_back(store: str, videos: Collection[str], *, why: str = "") -> tuple[str, ...]:
    """Let runs take forgotten videos in again; nothing comes back by itself.

    Raises:
        MissingArtifactError: one is not forgotten; nothing is done.
    """
    root, ids = open_root(store), _ids(videos)
    strange = sorted(frozenset(ids) - Forgotten.of(root).among(ids))
    if strange:
        raise MissingArtifactError(
            f"({', '.join(strange)}) is not forgotten in the store ({store}), so that nothing can"
            " be taken back; ids are written as they were forgotten",
            path=root.uri,
        )
    note_ids(root, ids, change=TAKEN_BACK, why=why)
    return ids


def _ids(videos: Collection[str]) -> tuple[str, ...]:
    ids = tuple(dict.fromkeys(videos))
    if not ids:
        raise RequestError("no video is named; give the ids of those that are meant")
    for one in ids:
        if not one or any("\ud800" <= letter <= "\udfff" for letter in one):
            raise RequestError(f"({one!r}) is the id of no video: ids are text, and not empty")
    return ids


def _check_known(root: Root, ids: Sequence[str], *, known: frozenset[str]) -> None:
    strange = [one for one in ids if one not in known]
    if strange:
        raise MissingArtifactError(
            f"no table of the store ({root.uri}) has a video ({'), ('.join(strange)}); ids are as"
            " `reelvec search` and `reelvec failures` show them, and nothing was forgotten; frames"
            " of a video that left its corpus before go with --unclaimed",
            path=root.uri,
        )


def _check_alone(root: Root, *, runs: int = 0) -> None:
    """Refuse where others write; `runs`: how many of those at work are this call."""
    live = [run for run in runs_at_work(root) if not run.stopped]
    who = f"the run ({live[0].name}) is at work" if len(live) > runs else ""
    if not who:
        known = [writer for writer in root.writers() if writer.known]
        who = f"{known[0].who} writes there" if known else ""
    if who:
        raise BusyError(
            f"{who}, and could write anew what is to be forgotten; run `reelvec forget` when that"
            f" has ended (store: {root.uri})",
            path=root.uri,
        )


def _erase(root: Root, traces: Traces, *, note: str, why: str) -> None:
    for erasure in traces.erasures:
        rewrite(erasure, note=note)
    for record in _tags(root, traces):
        move_alias(root, _as_in_force(root, record, why=why or note), after=record.number)
    for erasure in traces.erasures:
        forget_derived(root, erasure.holder.artifact)  # once the rows are gone, nobody asks for it
        remove(erasure)
        forget_derived(root, erasure.holder.artifact)  # a reader may have made it anew meanwhile


def _tags(root: Root, traces: Traces) -> list[AliasRecord]:
    """Aliases in force that stand for a snapshot which holds what goes."""
    going = {
        (erasure.holder.artifact.fingerprint, number)
        for erasure in traces.erasures
        for number in erasure.snapshots
    }
    records = (alias_in_force(root, name) for name in alias_names(root))
    return [one for one in records if one and not going.isdisjoint(one.artifacts.values())]


def _as_in_force(root: Root, record: AliasRecord, *, why: str) -> AliasRecord:
    """The alias at the latest snapshots of all it stands for: they belong together."""
    places = {}
    for kind, (fingerprint, number) in record.artifacts.items():
        latest = Artifact(root, kind=kind, fingerprint=fingerprint).latest()
        places[kind] = fingerprint, latest.number if latest else number
    return dataclasses.replace(
        record,
        artifacts=places,
        change=REWRITTEN,
        why=why,
        restores=record.restores or record.number,
    )


def _told(
    store: str,
    ids: tuple[str, ...],
    *,
    before: frozenset[str],
    traces: Traces,
    left: Leftovers,
    tags: Sequence[AliasRecord],
) -> Forgetting:
    return Forgetting(
        store=store,
        videos=ids,
        before=tuple(one for one in ids if one in before),
        gone=tuple(
            GoneFrom(
                kind=one.holder.artifact.kind,
                identity=one.holder.artifact.fingerprint,
                rows=one.rows,
                parts=one.parts,
                snapshots=len(one.snapshots),
                bytes=one.bytes,
            )
            for one in traces.erasures
        ),
        tags=tuple(record.alias for record in tags),
        files=len(left.paths) + len(left.here),
        file_bytes=left.bytes,
        twins=tuple(sorted({one for names in traces.twins.values() for one in names})),
        trained=traces.trained,
        sources=tuple(
            sorted(path for path in traces.sources if "://" in path or Path(path).exists())
        ),
    )
