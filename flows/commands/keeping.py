"""Words that keep a store true: verify, retry, gc, bootstrap."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import (
    JsonFlag,
    StoreOption,
    default_store,
    print_json,
    print_table,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(verify)
    app.command()(retry)
    app.command()(gc)
    app.command()(bootstrap)


def verify(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Read every part and compare it with its receipt; exit code 4 where something is damaged."""
    from storage.roots import open_root
    from storage.verify import verify_store

    where = store or default_store()
    damage = [
        {
            "kind": found.kind,
            "identity": found.fingerprint,
            "path": found.path,
            "what": found.what,
            "keys": list(found.keys),
        }
        for found in verify_store(open_root(where))
    ]
    if as_json:
        print_json({"store": where, "damage": damage})
    elif damage:
        print_table(where, damage, ["kind", "path", "what", "keys"])
    else:
        typer.echo(f"{where}: every part, receipt and snapshot is as it was written")
    if damage:
        raise typer.Exit(4)


def retry(
    store: StoreOption = None,
    reason: Annotated[
        list[str] | None, typer.Option(help="Only videos that failed for this reason.")
    ] = None,
    video: Annotated[list[str] | None, typer.Option(help="Only this video_id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Try the failed videos of the last run again, then bring its tables up to date."""
    from flows.launch import retry_failed, show

    summary = retry_failed(store or default_store(), reasons=reason or (), videos=video or ())
    if as_json:
        print_json(summary)
    else:
        show(summary)


def gc(
    store: StoreOption = None,
    keep: Annotated[int, typer.Option(min=1, help="Snapshots to keep of each artifact.")] = 2,
    as_json: JsonFlag = False,
) -> None:
    """Remove what no kept snapshot reaches."""
    from storage.gc import collect
    from storage.roots import open_root

    where = store or default_store()
    removed = collect(open_root(where), keep=keep)
    if as_json:
        print_json({"store": where, "removed": removed})
    else:
        typer.echo(f"{where}: removed {len(removed)} files")


def bootstrap(pool: Annotated[str, typer.Option(help="Work pool to create.")] = "reelvec") -> None:
    """Create the work pool, limits and automations on the Prefect server (PREFECT_API_URL)."""
    from flows.bootstrap import bootstrap_server

    for line in bootstrap_server(pool=pool):
        typer.echo(line)
