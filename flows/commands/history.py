"""Commands that say what changed: history and diff."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from reelvec.configs import ConfigError
from reelvec.flows.console.options import JsonFlag, StoreOption
from reelvec.flows.console.output import print_csv, print_json, print_table, say
from reelvec.flows.console.stores import known_store

if TYPE_CHECKING:
    from reelvec.tasks.runs.differences import Difference

__all__ = ["register"]

CsvFlag = Annotated[bool, typer.Option("--csv", help="Print one line a row, with a header.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(history)
    app.command()(diff)


def history(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only of this run, or this tag.")
    ] = None,
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0: all.")] = 30,
    as_json: JsonFlag = False,
    as_csv: CsvFlag = False,
) -> None:
    """Say what changed, when, by which run, and why: runs, publications, promotions, drops."""
    from reelvec.tasks.runs.history import history as read_history

    _one_format(as_json, as_csv)
    where = known_store(store)
    changes = read_history(where, name=name)
    shown = [one.to_json() for one in changes[-limit:]]
    if as_json:
        print_json({"store": where, "changes": shown})
        return
    columns = ["when", "what", "number", "run", "identifier", "tables", "why"]
    if as_csv:
        print_csv(shown, [*columns, "alias"])
        return
    rows = [{**row, "number": row["number"] or ""} for row in shown]
    print_table(where, rows, columns, whole=["when", "identifier", "tables"])
    if len(shown) < len(changes):
        say(f"{len(changes) - len(shown)} older ones are not shown: --limit 0 shows all")


def diff(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A run, a tag or identity; @N: its snapshot N.")
    ],
    second: Annotated[str, typer.Argument(metavar="B")],
    store: StoreOption = None,
    top: Annotated[int, typer.Option(min=0, help="Rows shown on a terminal; 0: all.")] = 20,
    as_json: JsonFlag = False,
    as_csv: CsvFlag = False,
) -> None:
    """Compare the tables of two runs or snapshots: rows new in B, gone from A, or changed.

    `history` shows tables as IDENTITY@N, which this takes.
    """
    from reelvec.tasks.runs.differences import diff_tables

    _one_format(as_json, as_csv)
    found = diff_tables(known_store(store), first, second)
    rows = [asdict(row) for row in found.rows]
    if as_json:
        tables = [asdict(table) for table in found.tables]
        print_json({"first": found.first, "second": found.second, "tables": tables, "rows": rows})
        return
    for row in rows:
        row["columns"] = " ".join(row["columns"])
    columns = ["table", "key", "change", "columns"]
    if as_csv:
        print_csv(rows, columns)
        return
    _show(found)
    if rows:
        print_table("Rows", rows[: top or None], columns)
    if top and len(rows) > top:
        say(f"{len(rows) - top} more are not shown: --top 0 shows all, --csv and --json too")


def _show(found: Difference) -> None:
    summary = [
        {
            "table": table.table,
            "A": table.rows[0],
            "B": table.rows[1],
            **{what: getattr(table, what) for what in ("new", "gone", "changed", "same")},
        }
        for table in found.tables
    ]
    title = f"{found.first} -> {found.second}"
    print_table(title, summary, ["table", "A", "B", "new", "gone", "changed", "same"])
    for table in found.tables:
        for names, which in ((table.only_first, "A"), (table.only_second, "B")):
            if names:
                say(f"{table.table}: only {which} has the columns {', '.join(names)}")
        counted = Counter(
            name for row in found.rows if row.table == table.table for name in row.columns
        )
        if counted:
            said = ", ".join(f"{name} in {count}" for name, count in counted.most_common())
            say(f"{table.table}: changed are {said} rows")


def _one_format(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise ConfigError("--json and --csv both say what is printed; give one of them")
