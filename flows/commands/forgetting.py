"""The command that removes videos from a store for good: forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reelvec.configs import ConfigError
from reelvec.flows.console.options import JsonFlag, StoreOption
from reelvec.flows.console.output import print_json, print_table, say
from reelvec.flows.console.stores import known_store

if TYPE_CHECKING:
    from reelvec.tasks.upkeep.forget import Forgetting

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(forget)


def forget(
    videos: Annotated[
        list[str] | None, typer.Argument(metavar="VIDEO...", help="Ids of videos.")
    ] = None,
    store: StoreOption = None,
    plan: Annotated[
        bool, typer.Option("--plan", "--dry-run", help="Only say what would go.")
    ] = False,
    take_back: Annotated[
        bool, typer.Option("--take-back", help="Let runs take these forgotten videos in again.")
    ] = False,
    unclaimed: Annotated[
        bool,
        typer.Option("--unclaimed", help="Frames and features too that no corpus names any more."),
    ] = False,
    why: Annotated[str, typer.Option("--why", help="Shown in `reelvec history`.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Remove videos for good: no snapshot, part, index, report or log holds anything of them.

    Nothing brings them back, and no run takes them in again. Other rows stay bit for bit; tags on
    older tables that held them stand for the tables in force. Killed, the same call goes on.
    """
    from reelvec.tasks.upkeep.forget import forget as forget_videos
    from reelvec.tasks.upkeep.forget import take_back as take_videos_back

    where = known_store(store)
    if take_back and (plan or unclaimed):
        raise ConfigError("--take-back removes nothing: give it without --plan and --unclaimed")
    if take_back:
        taken = take_videos_back(where, videos or (), why=why)
        if as_json:
            print_json({"store": where, "taken_back": list(taken)})
        else:
            say(
                f"{where}: the next run takes in again what its corpus names of: {', '.join(taken)}"
            )
        return
    done = forget_videos(where, videos or (), why=why, unclaimed=unclaimed, dry_run=plan)
    if as_json:
        print_json({"dry_run": plan, **done.to_json()})
    else:
        _show(done, plan=plan)


def _show(done: Forgetting, *, plan: bool) -> None:
    would, moves = ("would be ", "would move") if plan else ("", "moved")
    if not done.gone and not done.files:
        say(f"{done.store}: nothing is left of {', '.join(done.videos) or _what(())}")
        return
    rows = [
        {
            "kind": one.kind,
            "identity": one.identity,
            "rows": one.rows,
            "parts": one.parts,
            "snapshots": one.snapshots,
            "MiB": one.bytes / 2**20,
        }
        for one in done.gone
    ]
    print_table(done.store, rows, ["kind", "identity", "rows", "parts", "snapshots", "MiB"])
    say(
        f"{_what(done.videos)} {would}forgotten: {done.rows} rows in force, {done.files} files"
        f" beside them, {done.bytes / 2**20:,.1f} MiB"
    )
    for tag in done.tags:
        say(f"Tag ({tag}) stood for tables that held them, and {moves} to those in force")
    if done.twins:
        say(f"Same bytes, so that their frames stay: {', '.join(done.twins)}")
    if done.trained:
        say(f"Trained on them, and left as they are: {', '.join(f[:12] for f in done.trained)}")
    if done.sources:
        say(f"Their files are yours to delete: {', '.join(done.sources)}")
    if any(one.kind == "evaluation" for one in done.gone):
        say("Ranks and reports of these tables go too: `reelvec evaluate` scores anew")


def _what(videos: Sequence[str]) -> str:
    if not videos:
        return "what no corpus names any more"
    return f"{len(videos)} video{'' if len(videos) == 1 else 's'}"
