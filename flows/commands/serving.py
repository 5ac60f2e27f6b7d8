"""The command that shows a store in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from reelvec.flows.console.options import NoOpenFlag, StoreOption
from reelvec.flows.console.stores import opened_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(serve)


def serve(
    store: StoreOption = None,
    host: Annotated[str, typer.Option(help="Address to be reached at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    attributes: Annotated[
        Path | None,
        typer.Option(
            help="What you know of videos, by video_id, to filter by.", metavar="FILE.parquet"
        ),
    ] = None,
    no_open: NoOpenFlag = False,
) -> None:
    """Show a store on a page: search it, watch answers, see what was found late, and what failed.

    The page only reads. Beyond this machine (--host) it asks for the token of $REELVEC_PAGE_TOKEN.
    """
    from reelvec.flows.page.serving import ServeOptions, serve_page

    token = os.environ.get("REELVEC_PAGE_TOKEN", "")
    options = ServeOptions(
        host=host, port=port, token=token, attributes=attributes, open=not no_open
    )
    serve_page(opened_store(store), options=options)
