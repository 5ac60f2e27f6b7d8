"""The frame of a page that loads nothing: head, style, header, sections, footer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from reelvec.tasks.reports.rendering.markup import Child, Markup, tag

__all__ = ["document"]

#: a browser that opens the page may show its pictures and styles, and fetch or run nothing
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(
    title: str, header: Sequence[Child], sections: Sequence[Markup], *, footer: str
) -> bytes:
    """A whole page, UTF-8, in the reader's colours, light or dark."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", _stylesheet()),
    )
    body = tag("body", tag("header", header), tag("main", sections), tag("footer", footer))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n".encode(errors="replace")


def _stylesheet() -> Markup:
    return Markup(
        files("reelvec.tasks.reports.rendering").joinpath("style.css").read_text(encoding="utf-8")
    )
