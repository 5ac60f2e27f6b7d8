"""All queries of the page, as data that its script lists, sorts and searches."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from reelvec.tasks.reports.rendering.contents import AnsweredQuery, QuerySet, ReportContents
from reelvec.tasks.reports.rendering.markup import Child, Markup, tag

__all__ = ["queries_box", "queries_data", "queries_script"]

_DIRECTIONS = {"t2v": "text → video", "v2t": "video → text", "near": "videos"}
_ORDERS = {"worst": "worst first", "best": "best first"}
_CHANGES = {"lost": "fell most", "gained": "rose most"}


def queries_script() -> str:
    """What lists them; it runs in the page and asks for nothing."""
    place = files("reelvec.tasks.reports.rendering").joinpath("queries.js")
    return place.read_text(encoding="utf-8")


def queries_box(contents: ReportContents) -> list[Child]:
    """The controls; the script fills in the list."""
    ranked = any(row.rank is not None for one in contents.queries for row in one.rows)
    compared = any(row.before is not None for one in contents.queries for row in one.rows)
    orders = {**(_ORDERS if ranked else {}), **(_CHANGES if compared else {})}
    names = {one.direction: _DIRECTIONS[one.direction] for one in contents.queries}
    controls = [
        _choice("direction", "Direction", names) if len(names) > 1 else None,
        _choice("order", "Order", orders) if orders else None,
        tag("input", type="search", id="words", placeholder="Words or an id",
            aria_label="Words or an id", autocomplete="off"),
        tag("button", "Save as CSV", type="button", id="save"),
    ]  # fmt: skip
    left_out = sum(one.left_out for one in contents.queries)
    more = f"{left_out:,} more are too many for a page; `reelvec serve` shows all." * bool(left_out)
    return [
        tag("noscript", tag("p", "The list needs JavaScript; nothing is loaded.", class_="soft")),
        tag("div", controls, class_="controls"),
        tag("p", more, class_="soft") if more else None,
        tag("p", "", id="said", class_="soft", role="status"),
        tag("div", "", id="list", class_="cards"),
        tag("button", "Show more", type="button", id="more", hidden=True),
    ]


def _choice(name: str, label: str, options: Mapping[str, str]) -> Markup:
    made = [tag("option", words, value=value) for value, words in options.items()]
    return tag("select", made, id=name, aria_label=label)


def queries_data(contents: ReportContents) -> str:
    """The queries as JSON in which no markup can begin."""
    named: dict[str, None] = {}
    for one in contents.queries:
        for row in one.rows:
            named.setdefault(row.video_id)
            named.update(dict.fromkeys(video for video, _ in row.best))
    place = {video: number for number, video in enumerate(named)}
    pictures = {
        place[video]: base64.b64encode(jpeg).decode("ascii")
        for video, jpeg in contents.pictures.items()
    }
    data = {
        "videos": list(named),
        "pictures": pictures,
        "beside": contents.beside.name if contents.beside else "",
        "sets": [_set(one, place) for one in contents.queries],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _set(one: QuerySet, place: Mapping[str, int]) -> dict[str, Any]:
    rows = [_row(row, place) for row in one.rows]
    return {"direction": one.direction, "unit": one.unit, "rows": rows}


def _row(row: AnsweredQuery, place: Mapping[str, int]) -> Sequence[Any]:
    """[id, text, video, rank, score, videos ranked first, their scores, rank in the other run]."""
    return [
        row.query_id,
        row.text,
        place[row.video_id],
        _short(row.rank),
        _short(row.score),
        [place[video] for video, _ in row.best],
        [_short(score) for _, score in row.best],
        _short(row.before),
    ]


def _short(value: float | None) -> float | None:
    """Five digits are more than anybody reads; JSON has neither NaN nor infinity."""
    if value is None or not abs(value) < float("inf"):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() else short
