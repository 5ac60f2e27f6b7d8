"""Commands that only read: status, failures, presets, metrics, doctor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import reelvec
from reelvec.flows.console.options import (
    JsonFlag,
    RunOption,
    StoreOption,
    default_store,
)
from reelvec.flows.console.output import (
    print_json,
    print_table,
    say,
)
from reelvec.flows.console.stores import opened_store

if TYPE_CHECKING:
    from reelvec.tasks.runs.disk import DiskUse

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(status)
    app.command()(failures)
    app.command()(presets)
    app.command()(metrics)
    app.command()(doctor)


def status(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List what the store holds: runs, artifacts, snapshots, rows, bytes, counts.

    Names, identifiers and identities (or 6 of their first digits) are what other commands take.
    What holds nothing, only --json names. The last table has every file of the store, by what it
    is there for.
    """
    opened = opened_store(store)
    runs, artifacts, disk = opened.runs(), opened.status(), opened.disk()
    if as_json:
        print_json(
            {
                "store": opened.uri,
                "format": opened.format,
                "runs": list(map(_run, runs)),
                "artifacts": list(map(dataclasses.asdict, artifacts)),
                "disk": list(map(dataclasses.asdict, disk)),
                "disk_bytes": sum(use.bytes for use in disk),
            }
        )
        return
    if runs:
        last = {run.name: run for run in runs}
        rows = [
            _run(one) | {"runs": sum(run.name == name for run in runs)}
            for name, one in last.items()
        ]
        print_table("Runs", rows, ["name", "run", "runs", "ended", "made"])
        say()
    rows = [
        {
            "kind": artifact.kind,
            "identity": artifact.fingerprint,
            "snapshot": artifact.snapshot,
            "rows": artifact.rows,
            "MiB": artifact.bytes / 2**20,
            **dataclasses.asdict(artifact.counts),
        }
        for artifact in artifacts
        if artifact.parts
    ]
    columns = ["kind", "identity", "snapshot", "rows", "MiB", "ok", "salvaged", "quarantined"]
    print_table(opened.uri, rows, columns, whole=["identity"])
    say()
    _show_disk(disk)


def _show_disk(disk: Sequence[DiskUse]) -> None:
    rows = [{**dataclasses.asdict(use), "MiB": use.bytes / 2**20} for use in disk]
    files, size = (sum(row[name] for row in rows) for name in ("files", "MiB"))
    rows.append({"kind": "all", "what": "", "files": files, "MiB": size})
    print_table("On disk", rows, ["kind", "what", "files", "MiB"])


def _run(run: reelvec.Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "run": run.identifier,
        "ended": (run.ended or run.started).isoformat(" ", "seconds"),
        "made": ", ".join(run.artifacts),
    }


def failures(store: StoreOption = None, run: RunOption = None, as_json: JsonFlag = False) -> None:
    """List the videos of a run that failed or were salvaged, with the decoder's words."""
    from reelvec.tasks.corpus.ledger import counts, failures

    opened = opened_store(store)
    chosen = opened.run(run)
    ledger, sounds = chosen.ledger(), chosen.failures(sound=True)
    rows, totals = list(map(dataclasses.asdict, failures(ledger))), counts(ledger)
    silent = list(map(dataclasses.asdict, sounds))
    heard = {"sound": silent} if silent else {}
    if as_json:
        print_json({"store": opened.uri, "counts": totals.to_json(), "failures": rows, **heard})
        return
    for title, some in ((opened.uri, rows), ("Without sound", silent)):
        if some:
            print_table(title, some, ["video_id", "stage", "status", "reason", "message"])
    say(totals.words)


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


def metrics(
    store: StoreOption = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="File to replace, for node_exporter's textfile collector: ….prom"
        ),
    ] = None,
    pool: Annotated[str, typer.Option(help="Work pool whose queue is counted.")] = "reelvec",
) -> None:
    """Tell the state of a store as Prometheus reads it: videos, rows, bytes, seconds, the queue.

    `reelvec serve` has the same at /metrics.
    """
    from reelvec.flows.metrics import StoreCollector, metrics_text, write_metrics

    collector = StoreCollector(opened_store(store).uri, pool=pool)
    if to is None:
        for line in metrics_text(collector).decode().rstrip().split("\n"):
            say(line)
    else:
        write_metrics(collector, to)


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
