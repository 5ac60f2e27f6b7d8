"""The frame of a page that loads nothing: head, style, header, sections, footer."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from reelvec.tasks.reports.rendering.markup import Child, Markup, tag

__all__ = ["Program", "document"]

#: a browser that opens the page may show its pictures and styles, and fetch nothing
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Program:
    """A script of ours, the one that may run in a page, and the JSON it reads there."""

    script: str
    data: str
    """In which no `<` stands."""


def document(
    title: str,
    header: Sequence[Child],
    sections: Sequence[Markup],
    *,
    footer: str,
    program: Program | None = None,
) -> bytes:
    """A whole page, UTF-8, in the reader's colours, light or dark."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(program)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", _stylesheet()),
    )
    scripts: list[Markup] = []
    if program is not None:
        scripts = [
            tag("script", Markup(program.data), type="application/json", id="data"),
            tag("script", Markup(program.script)),
        ]
    body = tag("body", tag("header", header), tag("main", sections), tag("footer", footer), scripts)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n".encode(errors="replace")


def _policy(program: Program | None) -> str:
    """The script is named by the hash of its bytes: no other one runs."""
    if program is None:
        return _POLICY
    digest = base64.b64encode(hashlib.sha256(program.script.encode()).digest()).decode("ascii")
    return f"{_POLICY}; script-src 'sha256-{digest}'"


def _stylesheet() -> Markup:
    return Markup(
        files("reelvec.tasks.reports.rendering").joinpath("style.css").read_text(encoding="utf-8")
    )
