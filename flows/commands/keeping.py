"""Commands that keep a store right: verify, repair, retry, gc, compact, convert."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from reelvec.flows.console.options import (
    AcceptFlag,
    JsonFlag,
    RehashFlag,
    RunOption,
    StoreOption,
)
from reelvec.flows.console.output import print_json, print_table, say
from reelvec.flows.console.stores import known_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(verify)
    app.command()(repair)
    app.command()(retry)
    app.command()(gc)
    app.command()(compact)
    app.command()(convert)


def verify(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Read every part and compare it with its receipt; exit code 4 where something is damaged."""
    from reelvec.storage.roots import open_root
    from reelvec.storage.upkeep.verify import verify_store
    from reelvec.tasks.upkeep.affected import affected_videos

    where = known_store(store)
    root = open_root(where)
    damages = verify_store(root)
    damage = [
        {
            "kind": one.kind,
            "identity": one.fingerprint,
            "path": one.path,
            "what": one.what,
            "keys": list(one.keys),
            "videos": list(videos),
        }
        for one, videos in zip(damages, affected_videos(root, damages), strict=True)
    ]
    if as_json:
        print_json({"store": where, "damage": damage})
    elif damage:
        rows = [{**row, "videos": ", ".join(row["videos"])} for row in damage]
        print_table(where, rows, ["kind", "path", "what", "videos"])
    else:
        say(f"{where}: every part, receipt and snapshot is as it was written")
    if damage:
        raise typer.Exit(4)


def repair(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Make a damaged store whole: redo what was lost, set the damaged files aside.

    No run may be at work in the store meanwhile. Exit code 4 where damage is left.
    """
    from reelvec.flows.launch import repair_damage

    where = known_store(store)
    repaired = repair_damage(where)
    if as_json:
        print_json(repaired.to_json())
    elif not repaired.repairs and not repaired.left:
        say(f"{where}: nothing is damaged")
    else:
        if repaired.repairs:
            rows = repaired.to_json()["repaired"]
            print_table(where, rows, ["kind", "path", "what", "done"])
            say(f"Videos redone: {', '.join(repaired.videos) or 'none'}")
        for note in repaired.notes:
            say(f"Note: {note}")
    if repaired.left:
        raise typer.Exit(4)


def retry(
    store: StoreOption = None,
    run: RunOption = None,
    reason: Annotated[
        list[str] | None, typer.Option(help="Only videos that failed for this reason.")
    ] = None,
    video: Annotated[list[str] | None, typer.Option(help="Only this video_id.")] = None,
    accept_losses: AcceptFlag = False,
    rehash: RehashFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Try the failed videos of a run again, then bring its tables up to date."""
    from reelvec.flows.launch import retry_failed, show

    summary = retry_failed(
        known_store(store),
        run=run,
        reasons=reason or (),
        videos=video or (),
        accept_losses=accept_losses,
        rehash=rehash,
    )
    if as_json:
        print_json(summary.to_json())
    else:
        show(summary)


def gc(
    store: StoreOption = None,
    keep: Annotated[int, typer.Option(min=1, help="Newest snapshots kept of each artifact.")] = 3,
    hours: Annotated[
        float, typer.Option(min=0, help="Leave alone what is younger, a running writer's say.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove what no kept snapshot reaches, and what only dropped runs had."""
    from reelvec.tasks.upkeep.collect import collect_store

    where = known_store(store)
    done = collect_store(where, keep=keep, hours=hours, dry_run=dry_run)
    if as_json:
        removed = [
            {
                "kind": one.kind,
                "identity": one.fingerprint,
                "snapshots": len(one.snapshots),
                "files": len(one.files),
                "bytes": one.bytes,
            }
            for one in done.removed
        ]
        left = {why: list(paths) for why, paths in done.left.items()}
        print_json({"store": where, "dry_run": dry_run, "removed": removed, "left": left})
        return
    verb = "would be removed" if dry_run else "removed"
    say(f"{where}: {done.files} files ({done.bytes / 2**20:,.1f} MiB) {verb}")
    for why, paths in done.left.items():
        say(f"Left: {len(paths)} (first {paths[0]}): {why}")


def compact(
    store: StoreOption = None,
    kind: Annotated[
        Literal["corpus", "frames", "audio", "embeddings"] | None,
        typer.Option(help="Only this kind."),
    ] = None,
    identity: Annotated[
        str, typer.Option(help="Only this one: the first digits `status` shows.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Merge small parts into large ones and leave superseded rows behind; the rows stay the same.

    `gc` removes the old parts once no kept snapshot names them; the next run scores tables anew.
    """
    from reelvec.tasks.upkeep.compact import compact_store

    where = known_store(store)
    merged = compact_store(where, kind=kind or "", identity=identity, dry_run=dry_run)
    rows = [dataclasses.asdict(one) for one in merged]
    if as_json:
        print_json({"store": where, "dry_run": dry_run, "compacted": rows})
    elif rows:
        shown = [{**row, "MiB": row["bytes"] / 2**20} for row in rows]
        title = f"{where}{' (dry run: nothing is changed)' if dry_run else ''}"
        columns = ["kind", "identity", "parts_before", "parts_after", "MiB"]
        print_table(title, shown, columns, whole=["identity"])
    else:
        say(f"{where}: there are no small parts to merge")


def convert(
    to: Annotated[Literal["arrow", "hdf5"], typer.Option(help="Format of the frames' files.")],
    payload: Annotated[
        Literal["raw", "jpeg"] | None, typer.Option(help="Default: as the frames have it.")
    ] = None,
    identity: Annotated[
        str,
        typer.Option(
            help="Which frames: the first digits `status` shows. Default: the last run's."
        ),
    ] = "",
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the frames in another format, beside those there are; frame for frame the same."""
    from reelvec.tasks.frames.convert import convert_frames
    from reelvec.tasks.runs.status import full_fingerprint

    where = known_store(store)
    if identity:
        identity = full_fingerprint(where, kind="frames", prefix=identity)
    done = convert_frames(where, format=to, payload=payload, fingerprint=identity)
    counts = done.target.counts()
    if as_json:
        print_json(
            {
                "store": where,
                "source": done.source,
                "target": done.target.artifact.fingerprint,
                "snapshot": done.target.number,
                "converted": done.clips,
                "counts": dataclasses.asdict(counts),
                "bytes": done.target.bytes,
            }
        )
        return
    settings = _settings(done.target.artifact.identity)
    say(
        f"{where}: {done.clips} clips converted; frames {done.target.artifact.fingerprint} have "
        f"{counts.usable} usable of {counts.planned}. Runs use them with {settings}"
    )


def _settings(identity: Mapping[str, Any]) -> str:
    """What a run must be given to find these frames: the format, and all that is no default."""
    from reelvec.configs.schema import ExtractConfig

    format, payload = identity["settings"]["format"], identity["settings"]["payload"]
    if payload == ExtractConfig().payload:
        return f"extract.format={format}"
    return f"extract.format={format}, extract.payload={payload}"
