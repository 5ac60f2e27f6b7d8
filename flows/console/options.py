"""Options that several commands share, each said once."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = [
    "AcceptFlag",
    "JsonFlag",
    "NoOpenFlag",
    "RehashFlag",
    "RunOption",
    "RunsOption",
    "StoreOption",
    "default_store",
    "named_store",
]


def _not_empty(given: str | None) -> str | None:
    """Refuses an empty --store, which a shell makes of a variable that is not set."""
    if given is not None and not given.strip():
        raise typer.BadParameter("it is empty; name a folder, or leave --store out")
    return given


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        callback=_not_empty,
        help="Root of the store [$REELVEC_STORE or ./reelvec-store].",
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="A run's name, a tag, or the first digits of an identifier [what is searched].",
    ),
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run", help="Only this run (may be given several times) [all that have tables]."
    ),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]
NoOpenFlag = Annotated[bool, typer.Option("--no-open", help="Open no page in a browser.")]
RehashFlag = Annotated[
    bool,
    typer.Option(
        "--rehash",
        help="Read every video's bytes again, though its file looks as it did; only what"
        " differs is done again.",
    ),
]
AcceptFlag = Annotated[
    bool,
    typer.Option("--accept-losses", help="Let tables lose usable rows beyond max_lost_fraction."),
]


def named_store(given: str | None) -> str | None:
    """--store, else $REELVEC_STORE; None: a configuration's own stands."""
    return given or os.environ.get("REELVEC_STORE") or None


def default_store() -> str:
    """$REELVEC_STORE, else ./reelvec-store."""
    return named_store(None) or "reelvec-store"
