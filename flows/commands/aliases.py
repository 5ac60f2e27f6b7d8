"""Commands about which tables are searched: promote, rollback, tag, untag, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reelvec.flows.console.options import JsonFlag, StoreOption
from reelvec.flows.console.output import print_json, print_table, say
from reelvec.flows.console.stores import known_store

if TYPE_CHECKING:
    from reelvec.tasks.runs.promotion import Moved

__all__ = ["register"]

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's name, identifier, or a tag.")
]
WhyOption = Annotated[str, typer.Option("--why", help="Shown in `reelvec history`.")]
FollowFlag = Annotated[
    bool, typer.Option("--follow", help="See what is published for the run later, too.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(promote)
    app.command()(rollback)
    app.command()(tag)
    app.command()(untag)
    app.command()(tags)


def promote(
    run: RunArgument,
    store: StoreOption = None,
    why: WhyOption = "",
    follow: FollowFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Let `current` stand for the tables of a run as they are now: these are searched from here on.

    search, serve, evaluate, report and exports take them where no run is named. What is published
    later is seen after the next promotion, which `reembed` does by itself behind its gate.
    """
    from reelvec.tasks.runs.promotion import promote as promote_run

    _show(promote_run(known_store(store), run, why=why, follows=follow), as_json=as_json)


def rollback(
    store: StoreOption = None,
    alias: Annotated[str, typer.Option(help="The alias that goes back.")] = "current",
    to: Annotated[
        int | None, typer.Option(min=1, help="Number that `history` shows [the last other one].")
    ] = None,
    why: WhyOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Let `current` stand for what it stood for before, as long as gc has kept that."""
    from reelvec.tasks.runs.promotion import rollback as roll_back

    _show(roll_back(known_store(store), alias=alias, number=to, why=why), as_json=as_json)


def tag(
    name: Annotated[str, typer.Argument(help="Small letters, digits, dots, dashes.")],
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Default: what is searched.")
    ] = None,
    store: StoreOption = None,
    why: WhyOption = "",
    follow: FollowFlag = False,
    move: Annotated[bool, typer.Option("--move", help="A tag that is set may be moved.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Give the tables of a run a name, which --run takes; gc leaves them while it is set."""
    from reelvec.tasks.runs.promotion import tag as tag_run

    where = known_store(store)
    _show(tag_run(where, name, run, why=why, follows=follow, moves=move), as_json=as_json)


def untag(
    name: Annotated[str, typer.Argument(help="A tag, or current.")],
    store: StoreOption = None,
    why: WhyOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Take a tag away; what it alone kept goes with the next gc."""
    from reelvec.tasks.runs.promotion import untag as untag_run

    _show(untag_run(known_store(store), name, why=why), as_json=as_json)


def tags(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List `current` and the tags: what each stands for, since when, and why."""
    from dataclasses import asdict

    from reelvec.tasks.runs.promotion import list_tags

    where = known_store(store)
    listed = list_tags(where)
    if as_json:
        print_json({"store": where, "tags": [asdict(one) for one in listed]})
    elif not listed:
        say(f"{where}: no tag, and `current` is not set: the last run that has tables is searched")
    else:
        rows = [
            {
                "tag": one.alias,
                "run": one.record.name,
                "identifier": one.record.run,
                "tables": "followed"
                if one.record.follows
                else one.record.artifacts["embeddings"][1],
                "since": one.record.when,
                "why": one.record.why or one.record.change,
            }
            if one.record
            else {"tag": one.alias, "why": one.wrong}
            for one in listed
        ]
        columns = ["tag", "run", "identifier", "tables", "since", "why"]
        print_table(where, rows, columns, whole=["identifier", "since"])


def _show(moved: Moved, *, as_json: bool) -> None:
    from reelvec.flows.promoting import tell_moved

    tell_moved(moved)
    if as_json:
        print_json(moved.to_json())
    else:
        say(moved.words)
