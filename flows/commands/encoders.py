"""Commands about models: what can be loaded, and whether a folder can."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from reelvec.flows.console.options import JsonFlag
from reelvec.flows.console.output import print_json, print_table, say

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`, as `models` and `models check`."""
    group = typer.Typer(help="Show what can be loaded, and check a folder of weights.")
    group.callback(invoke_without_command=True)(models)
    group.command()(check)
    app.add_typer(group, name="models")


def models(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show what can be loaded: from what, its vectors, frames, pixels, costs and licence.

    Published numbers are other people's, with their protocol; none is reproduced here.
    """
    if context.invoked_subcommand is not None:
        return
    from reelvec.models.catalogue import CATALOGUE

    rows = [dataclasses.asdict(one) | {"weights_gb": one.weights_gb} for one in CATALOGUE]
    if as_json:
        print_json({"models": rows})
        return
    first = ["name", "given_as", "family", "licence"]
    print_table("What can be loaded", rows, first)
    sizes = ["name", "vector", "frames", "pixels", "parameters", "weights_gb", "row_kb"]
    print_table("Sizes: parameters in millions, weights and a video's row in fp32", rows, sizes)
    costs = ["name", "text_gmacs", "video_gmacs", "published", "protocol"]
    print_table("Costs, in 10^9 multiply-accumulates, and what others published", rows, costs)
    trained = [row for row in rows if row["preset"]]
    print_table("What trains the heads: reelvec run PRESET", trained, ["name", "preset"])
    say("Where each comes from: docs/weights.md. Try one: reelvec models check FOLDER")


def check(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder, hf:FOLDER_OR_NAME, or weights file.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Load a model, encode a clip and a caption with it, and say what it is."""
    from reelvec.tasks.weights.checking import check_model

    found = dataclasses.asdict(check_model(folder))
    if as_json:
        print_json(found)
        return
    rows = [{"what": name.replace("_", " "), "value": _said(found[name])} for name in found]
    print_table(folder, rows, ["what", "value"])


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value or "not counted")
