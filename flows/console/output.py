"""Options several commands share, and how their results are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["JsonFlag", "RunOption", "StoreOption", "default_store", "print_json", "print_table"]


def default_store() -> str:
    """$REELVEC_STORE, else ./reelvec-store."""
    return os.environ.get("REELVEC_STORE") or "reelvec-store"


_PIPE_COLUMNS = 200

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Root of the store [$REELVEC_STORE or ./reelvec-store]."),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", help="A run's name, or the first digits of its identifier [the last]."),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_table(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    whole: Collection[str] = (),
) -> None:
    """A table on stdout; long cells are wrapped, never cut; those of the columns `whole` stay."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        numeric = bool(rows) and all(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=column in whole,
        )
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    console = Console(markup=False)
    if not console.is_terminal:  # a pipe or a file has no width to respect
        console = Console(markup=False, width=_PIPE_COLUMNS)
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)
