"""Commands that only read: search, status, failures, presets, doctor."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from reelvec.flows.console.output import (
    JsonFlag,
    StoreOption,
    default_store,
    print_json,
    print_table,
)
from reelvec.flows.console.stores import known_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(search)
    app.command()(status)
    app.command()(failures)
    app.command()(presets)
    app.command()(doctor)


def search(
    text: Annotated[str, typer.Argument(help="What to look for, in words.")],
    store: StoreOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Rows to show.")] = 10,
    as_json: JsonFlag = False,
) -> None:
    """Rank the videos of the last run by a text."""
    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.runs.recording import last_config
    from reelvec.tasks.searching.search import search_text

    answers = search_text(Session(last_config(known_store(store))), text=text, top=top)
    rows = [row.as_dict() for row in answers]
    if as_json:
        print_json({"query": text, "results": rows})
        return
    columns = ["rank", "score", "video_id", "start_seconds", "end_seconds", "path"]
    print_table(f"“{text}”", rows, columns)


def status(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List what the store holds: artifacts, snapshots, rows, bytes, counts.

    What has no snapshot yet holds nothing: only --json names it.
    """
    from reelvec.tasks.runs.status import describe_store, store_format

    where = known_store(store)
    artifacts = describe_store(where)
    if as_json:
        print_json({"store": where, "format": store_format(where), "artifacts": artifacts})
        return
    rows = [
        {
            "kind": artifact["kind"],
            "identity": artifact["fingerprint"][:12],
            "snapshot": artifact["snapshot"],
            "rows": artifact["rows"],
            "MiB": artifact["bytes"] / 2**20,
            "parts": len(artifact["parts"]),
            **artifact["counts"],
        }
        for artifact in artifacts
        if artifact["snapshot"]
    ]
    columns = ["kind", "identity", "snapshot", "rows", "MiB", "parts"]
    print_table(where, rows, [*columns, "planned", "ok", "salvaged", "quarantined"])


def failures(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List the videos of the last run that failed or were salvaged, with the decoder's words."""
    from reelvec.tasks.runs.recording import last_ledger

    where = known_store(store)
    failed, totals = last_ledger(where)
    rows = [dataclasses.asdict(row) for row in failed]
    if as_json:
        print_json({"store": where, "counts": totals.to_json(), "failures": rows})
        return
    if rows:
        print_table(where, rows, ["video_id", "stage", "status", "reason", "message"])
    typer.echo(totals.words)


def presets(as_json: JsonFlag = False) -> None:
    """List the presets `reelvec run` takes: dataset, protocol, model and expected R@1."""
    from reelvec.configs import load, preset_names

    rows = []
    for name in preset_names():
        config = load(name)
        expected = config.evaluate.published
        rows.append(
            {
                "preset": name,
                "corpus": config.corpus.kind,
                "protocol": getattr(config.corpus, "protocol", ""),
                "model": f"{config.model.family} {config.model.architecture}",
                "t2v R@1": expected.get("t2v/R@1"),
                "v2t R@1": expected.get("v2t/R@1"),
                "expected": dict(expected),
                "source": config.evaluate.published_source,
            }
        )
    if as_json:
        print_json({"presets": rows})
    else:
        columns = ["preset", "corpus", "protocol", "model", "t2v R@1", "v2t R@1"]
        print_table("reelvec run PRESET", rows, columns)


def doctor(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Check this machine and the store for what would go wrong later."""
    from reelvec.flows.doctor import examine

    checks = examine(store or default_store())
    if as_json:
        print_json({"checks": checks})
    else:
        print_table("reelvec doctor", checks, ["check", "result", "found", "remedy"])
    if any(check["result"] == "bad" for check in checks):
        raise typer.Exit(1)
