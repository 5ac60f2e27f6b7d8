"""The command that makes an approximate index and says what it misses."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelvec.configs import ConfigError
from reelvec.flows.console.options import JsonFlag, RunOption, StoreOption
from reelvec.flows.console.output import print_json, say
from reelvec.flows.console.stores import opened_store

if TYPE_CHECKING:
    from reelvec.api.indexing import IndexFacts

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(index)


def index(
    store: StoreOption = None,
    run: RunOption = None,
    numbers: Annotated[
        str | None, typer.Option(help="How numbers are kept, int8 or float32 [int8].")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(help="Keep the first so many numbers of a vector alone [all].")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="The part of the ten best that must be found [0.95].")
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(help="Captions it is measured with [200; 20 where scores look at them]."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Of whole videos, also where the run has windows.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make the index of `search --approximate`, and measure what it finds of the exact answers."""
    from pydantic import ValidationError

    from reelvec.configs.errors import rule
    from reelvec.configs.indexing import IndexConfig

    given: dict[str, Any] = {
        "numbers": numbers,
        "dimensions": dimensions,
        "recall": recall,
        "queries": queries,
    }
    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = IndexConfig.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        default = IndexConfig.model_fields[name].default
        remedy = "leave it out" if default is None else f"without it, it is {default}"
        raise ConfigError(
            f"--{name} ({problem['input']}): {rule(problem['msg'])}; {remedy}"
        ) from None
    facts = opened_store(store).run(run).index(settings, whole=whole)
    if as_json:
        print_json(dataclasses.asdict(facts))
        return
    for line in _lines(facts):
        say(line)


def _lines(facts: IndexFacts) -> list[str]:
    kept = f"{facts.numbers} numbers" + (
        "" if facts.dimensions is None else f", the first {facts.dimensions} of a vector"
    )
    found = f"measured with {facts.queries:,} {facts.asked}"
    lines = [
        f"index {facts.fingerprint[:12]} of {facts.rows:,} {facts.table}: {kept}",
        f"finds {facts.recall:.1%} of the ten best, {found}: {facts.probes:,} of {facts.lists:,}"
        f" lists are looked at, and the {facts.shortlist:,} nearest scored exactly",
        f"without exact scores it would find {facts.codes_alone:.1%}, whatever it looks at",
    ]
    if facts.stages:
        lines.append(
            "the model's score looks at the query: vectors choose, and its own score decides"
        )
    if facts.trained is False:
        lines.append(
            f"the model was not trained for vectors cut to {facts.dimensions} numbers: what that"
            " loses is in the numbers above"
        )
    return [*lines, f"{facts.seconds:.1f} s; search with it: reelvec search --approximate …"]
