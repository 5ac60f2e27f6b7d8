"""The command that measures what a query costs."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelvec.flows.console.folders import made_folder
from reelvec.flows.console.options import JsonFlag
from reelvec.flows.console.output import complain, print_json, print_table, say

if TYPE_CHECKING:
    from reelvec.tasks.searching.search_time import SearchTime

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("search-time")(search_time)


def search_time(
    videos: Annotated[
        list[int] | None,
        typer.Option(
            "--videos",
            min=1,
            max=10_000_000,
            help="How many videos (may be given several times) [1000, 10000, 100000].",
        ),
    ] = None,
    width: Annotated[int, typer.Option(min=64, max=4096, help="Numbers of a vector.")] = 512,
    frames: Annotated[int, typer.Option(min=1, max=256, help="Frames of a video.")] = 12,
    words: Annotated[int, typer.Option(min=3, max=256, help="Tokens of a query.")] = 32,
    out: Annotated[
        Path | None, typer.Option(help="Folder for search-time.csv and search-time.svg.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure a query's time: one vector a video against scores that look at the query.

    Random vectors in tables as the models have them, one CPU thread. Quote ratios, not times.
    """
    from reelvec.configs import ConfigError
    from reelvec.tasks.searching.search_time import TimeOptions, search_times

    if width % 64:
        raise ConfigError(f"--width ({width}) must be a multiple of 64, the width of a head")
    folder = None if out is None else made_folder(out, option="--out")
    counts = tuple(sorted(set(videos or TimeOptions.videos)))
    options = TimeOptions(videos=counts, width=width, frames=frames, words=words)
    rows = search_times(options, told=_tell)
    load = os.getloadavg()[0]
    if as_json:
        print_json({"load": load, "cores": os.cpu_count(), "times": [asdict(row) for row in rows]})
    else:
        shown, columns = _table(rows)
        print_table(
            f"One query, ten best, D {width}, {frames} frames, {words} words", shown, columns
        )
        say(f"CPU milliseconds of one thread; load {load:.1f} on {os.cpu_count()} cores.")
        if any(row.scaled for row in rows):
            say("~ measured on fewer videos, and scaled up")
    if folder is not None:
        for file in _write(rows, folder):
            say(f"Written: {file}")


def _tell(row: SearchTime) -> None:
    complain(f"{row.score}: {row.videos:,} videos, {row.seconds * 1e3:,.2f} ms")


def _table(rows: Sequence[SearchTime]) -> tuple[list[dict[str, Any]], list[str]]:
    """A line a score, a column a number of videos."""
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind = "yes" if row.looks_at_query else "no"
        line = lines.setdefault(
            row.score, {"score": row.score, "looks at query": kind, "numbers/video": row.numbers}
        )
        mark = "~" if row.scaled else ""
        line[f"{row.videos:,} ms"] = f"{mark}{row.seconds * 1e3:,.3g}"
        line["times dot"] = f"{row.times_dot:,.3g}"  # of the most videos
    shown = list(lines.values())
    counts = [column for column in shown[0] if column.endswith(" ms")]
    return shown, ["score", "looks at query", "numbers/video", *counts, "times dot"]


def _write(rows: Sequence[SearchTime], folder: Path) -> list[Path]:
    from reelvec.tasks.reports.rendering.times import times_figure

    table, figure = folder / "search-time.csv", folder / "search-time.svg"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        lines.setdefault(row.score, []).append((row.videos, row.seconds))
    figure.write_bytes(
        times_figure(
            lines,
            looks_at_query=frozenset(row.score for row in rows if row.looks_at_query),
            scaled=frozenset(row.score for row in rows if row.scaled),
            title="Time of one query, ten best",
        )
    )
    return [table, figure]
