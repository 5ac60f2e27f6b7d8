"""Commands that run the pipeline: demo, run, embed, evaluate, report, reembed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from reelvec import configs
from reelvec.configs import ConfigError
from reelvec.configs.uris import is_uri
from reelvec.flows.console.options import (
    AcceptFlag,
    JsonFlag,
    NoOpenFlag,
    RehashFlag,
    RunOption,
    RunsOption,
    StoreOption,
    default_store,
    named_store,
)
from reelvec.flows.console.output import complain, is_person, print_json, say
from reelvec.flows.console.stores import known_store, opened_store

__all__ = ["register"]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a key, e.g. --set train.epochs=3."),
]
PlanFlag = Annotated[
    bool,
    typer.Option(
        "--plan", help="Only say what would be done, to which videos, and what it would take."
    ),
]
StageOption = Annotated[
    list[str] | None,
    typer.Option("--stage", help="Run these stages only (may be given several times)."),
]

_SOURCE = "the command line"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (demo, run, embed, evaluate, report, reembed):
        app.command()(command)


def demo(
    store: StoreOption = None,
    set_: SetOption = None,
    rehash: RehashFlag = False,
    no_open: NoOpenFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the main job on a synthetic corpus: frames, training, tables, metrics, report, a page.

    Where a person is at the terminal the page of the store is then opened, as by `reelvec serve`.
    """
    config = configs.load("demo", overrides=_overrides(set_, store))
    _launch(config, rehash=rehash, as_json=as_json)
    if is_person() and not (as_json or no_open):
        from reelvec.flows.page.serving import ServeOptions, serve_page

        serve_page(opened_store(config.store), options=ServeOptions(port=0))


def run(
    source: Annotated[str, typer.Argument(metavar="PRESET|FILE.yaml")],
    store: StoreOption = None,
    set_: SetOption = None,
    stage: StageOption = None,
    plan: PlanFlag = False,
    accept_losses: AcceptFlag = False,
    rehash: RehashFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a preset (`reelvec presets` lists them) or your own YAML file."""
    from reelvec.configs.loader import require_corpus

    config = require_corpus(configs.load(source, overrides=_overrides(set_, store)), source=source)
    if plan:
        from reelvec.flows.pricing import plan_run, show_plan

        priced = plan_run(config, stages=stage, rehash=rehash)
        if as_json:
            print_json(priced.to_json())
        else:
            show_plan(priced)
        return
    _launch(config, stages=stage, accept_losses=accept_losses, rehash=rehash, as_json=as_json)


def embed(
    videos: Annotated[
        str, typer.Argument(help="Folder of videos, searched recursively, or s3://bucket/prefix.")
    ],
    captions: Annotated[
        str | None,
        typer.Option(help="CSV, JSON, JSONL or Parquet: video_id,path,caption[,split]."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            "--model",
            help="CLIP archive, trained checkpoint or hf:FOLDER_OR_NAME to embed with; several"
            " times, a table each, and each file is read once.",
        ),
    ] = None,
    store: StoreOption = None,
    set_: SetOption = None,
    accept_losses: AcceptFlag = False,
    rehash: RehashFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Embed your own videos (and captions): a folder in, a table out."""
    if not videos or not (is_uri(videos) or Path(videos).is_dir()):
        raise ConfigError(f"({videos}) is not a folder; give the folder that holds the videos")
    if captions is None:
        from reelvec.storage.corpora.own.folder import check_folder

        check_folder(videos)
    from reelvec.configs.loader import validate
    from reelvec.tasks.decoding.probes_ahead import begin_decoding
    from reelvec.tasks.weights.choice import choose_several, keep_choices

    place = store or default_store()
    begin = partial(begin_decoding, videos, store=place, rehash=rehash)
    chosen = choose_several(weights or [None], store=place, before_torch=begin)
    corpus = {"kind": "folder", "videos": videos, "captions": captions}
    overrides, summaries = _overrides(set_, store), []
    runs = [
        validate(one.document(corpus, name=name), source=_SOURCE, overrides=overrides)
        for one, name in zip(chosen, _names(videos, count=len(chosen)), strict=True)
    ]
    stages = ["ingest", "extract", "audio", "train", "embed"]
    if len(runs) == 1:
        _launch(runs[0], stages=stages, accept_losses=accept_losses, rehash=rehash, as_json=as_json)
        keep_choices(chosen, store=place)
        return
    from reelvec.flows.launch import launch, show

    for config in runs:
        summary = launch(config, stages=stages, accept_losses=accept_losses, rehash=rehash)
        summaries.append(summary.to_json())
        if not as_json:
            show(summary)
    keep_choices(chosen, store=place)
    if as_json:
        print_json({"runs": summaries})


def _names(videos: str, *, count: int) -> list[str]:
    """Of the runs that embed a folder; several are counted."""
    name = f"embed {Path(videos).name}"
    return [name] if count == 1 else [f"{name} {number + 1}" for number in range(count)]


def evaluate(
    source: Annotated[
        str | None,
        typer.Argument(metavar="PRESET|FILE.yaml", help="Default: the run that is searched."),
    ] = None,
    store: StoreOption = None,
    run: RunOption = None,
    set_: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Score the tables of a run again, say on another split: reads tables only."""
    if source is not None and run is not None:
        raise ConfigError(f"({source}) and --run {run} both name what is scored; give one of them")
    if source is None:
        config = _recorded(store, run=run, overrides=set_)
    else:
        config = configs.load(source, overrides=_overrides(set_, store))
        known_store(config.store)
    _launch(config, stages=["evaluate", "report"], as_json=as_json)


def report(
    store: StoreOption = None,
    run: RunOption = None,
    against: Annotated[
        str | None,
        typer.Option(help="A run or tag to compare with, query by query.", metavar="RUN"),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Draw the report of a run, scored first where it is not, and say where it is.

    The last one is kept as reports/latest.html of the store, and under its run's name.
    """
    config = _recorded(store, run=run)
    from reelvec.flows.reporting import draw_report, latest_report

    summary = draw_report(config, against=against)
    latest = latest_report(config.store)
    if as_json:
        print_json({**summary.to_json(), "latest": str(latest)})
    else:
        from reelvec.flows.launch import show

        show(summary)
        say(f"Kept as: {latest}")
    if open_:
        from reelvec.flows.console.browser import open_in_browser

        if not open_in_browser(latest.as_uri()):
            complain("no browser with windows is here: open the file yourself")


def reembed(
    store: StoreOption = None,
    run: RunsOption = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            "--dry-run",
            help="Only say what would be done, to which videos, and what it would take.",
        ),
    ] = False,
    accept_losses: AcceptFlag = False,
    rehash: RehashFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Keep the tables of every run true: do what is new, changed or removed, train nothing.

    A run that fails stops no other; then the exit code is 1.
    """
    from reelvec.flows.launch import refresh_runs
    from reelvec.flows.pricing import show_plan
    from reelvec.flows.refresh import RefreshOptions, check_refreshed

    options = RefreshOptions(dry_run=plan, accept_losses=accept_losses, rehash=rehash)
    result = refresh_runs(known_store(store), names=run or (), options=options)
    if as_json:
        print_json({"runs": [one.to_json() for one in result.runs]})
    else:
        for one in result.runs:
            if plan and one.price is not None:
                show_plan(one.price)
                continue
            say(f"{one.name}: {one.words}")
            for note in one.summary.notes if one.summary else ():
                say(f"Note: {note}")
    check_refreshed(result)


def _recorded(
    store: str | None, *, run: str | None, overrides: Sequence[str] | None = None
) -> configs.PipelineConfig:
    """The config of a recorded run, with overrides."""
    from reelvec.configs.loader import validate
    from reelvec.tasks.runs.recording import last_config

    where = known_store(store)
    document = last_config(where, run=run).model_dump(mode="json")
    changes = [f"store={where}", *(overrides or [])]
    return validate(document, source=_SOURCE, overrides=changes)


def _overrides(given: Sequence[str] | None, store: str | None) -> list[str]:
    """What the command line changes; a file's own store stands unless another is named."""
    named = named_store(store)
    return [*([f"store={named}"] if named else []), *(given or [])]


def _launch(
    config: configs.PipelineConfig,
    *,
    stages: Sequence[str] | None = None,
    accept_losses: bool = False,
    rehash: bool = False,
    as_json: bool,
) -> None:
    from reelvec.flows.launch import launch, show

    if config.train.nodes > 1:
        from reelvec.flows.nodes import join, other_place

        place = other_place(config, stages=stages)
        if place is not None:
            join(config, place)
            complain(f"reelvec: node {place.index} of {place.count} took part in the training")
            return
    summary = launch(config, stages=stages, accept_losses=accept_losses, rehash=rehash)
    if as_json:
        print_json(summary.to_json())
    else:
        show(summary)
