"""Commands about the runs of a store: list them, drop one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from reelvec.flows.console.options import JsonFlag, StoreOption
from reelvec.flows.console.output import print_json, print_table, say
from reelvec.flows.console.stores import known_store

__all__ = ["register"]

_MIB = 2**20


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(runs)
    app.command()(drop)


def runs(
    store: StoreOption = None,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="List the runs that were dropped, too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the runs by name: when they were, what they have, and what they keep on disk.

    The one that is used is searched where no run is named. `alone` is what no other run needs:
    `drop` and then `gc` free it.
    """
    from reelvec.tasks.runs.listing import list_names

    where = known_store(store)
    listed = list_names(where, dropped=dropped)
    if as_json:
        print_json({"store": where, "runs": [one.to_json() for one in listed]})
        return
    if not listed:
        say(f"{where}: no run")
        return
    rows = [
        {
            "name": one.name,
            "run": one.run,
            "runs": one.runs,
            "ended": _moment(one.ended or one.started),
            "status": one.status,
            "used": "yes" if one.in_use else "",
            "has": ", ".join(one.has),
            "MiB": one.bytes / _MIB,
            "alone": one.bytes_alone / _MIB,
        }
        for one in listed
    ]
    columns = ["name", "run", "runs", "ended", "status", "used", "has", "MiB", "alone"]
    print_table(where, rows, columns, whole=["run", "ended", "status"])


def _moment(when: str) -> str:
    return datetime.fromisoformat(when).isoformat(" ", "seconds") if when else ""


def drop(
    name: Annotated[str, typer.Argument(help="A run's name, or digits of one's identifier.")],
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Drop the runs of a name: not searched, listed or kept true any more; gc frees their files.

    What other runs need stays. The same run given again is a new one.
    """
    from reelvec.tasks.runs.listing import drop as drop_run

    where = known_store(store)
    done = drop_run(where, name, dry_run=dry_run)
    if as_json:
        print_json({"store": where, "dry_run": dry_run, **done.to_json()})
        return
    count = f"{len(done.runs)} runs" if len(done.runs) > 1 else f"run {done.runs[0]}"
    say(f"{done.name}: {'would be ' if dry_run else ''}dropped ({count})")
    kinds = ", ".join(f"{kind} {found[:12]}" for kind, found in done.frees) or "nothing"
    frees = "would then free" if dry_run else "frees"
    say(f"`reelvec gc` {frees} {done.bytes / _MIB:,.1f} MiB: {kinds}")
    if done.shared:
        kept = ", ".join(f"{kind} {found[:12]}" for kind, found in done.shared)
        say(f"Other runs need, so it stays: {kept}")
    if done.in_use:
        say(f"Searched where no run is named: {done.in_use}")
    else:
        say("No run that has tables is left: search finds nothing until the next one has some")
