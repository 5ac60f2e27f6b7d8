"""The one door to a person's terminal.

Names come from files and captions, so anything may stand in them: nothing but what is made here is
printed (a house rule of tests/test_architecture.py), and what a terminal would obey is escaped.
"""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = [
    "complain",
    "is_person",
    "print_csv",
    "print_json",
    "print_table",
    "printable",
    "progress_console",
    "say",
    "speak_any_encoding",
]


_PIPE_COLUMNS = 200

_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of controls, of formats (bidi overrides among them), of halves of characters,
and of separators of lines."""
_JOINERS = frozenset("\u200c\u200d")
"""Formats that words of several languages, and many emoji, are written with."""


def speak_any_encoding() -> None:
    """Let a terminal without UTF-8 show an escape for each character it lacks."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def printable(text: object) -> str:
    r"""`text` on one line, with an escape for whatever a terminal would obey: \x1b, \n, \u202e."""
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c.encode("unicode_escape").decode() if _is_obeyed(c) else c for c in words)


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in _OBEYED and character not in _JOINERS


def say(line: object = "") -> None:
    """One line on stdout."""
    sys.stdout.write(f"{printable(line)}\n")


def complain(line: object) -> None:
    """One line on stderr, at once."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def is_person() -> bool:
    """Whether somebody is at the terminal, to look at a page."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def progress_console() -> Console:
    """Stderr, for bars and lines that name stages and counts, never a video."""
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_json(document: object) -> None:
    """One JSON document on stdout; it reads the same whatever was escaped."""
    is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=2, ensure_ascii=not is_utf8, default=str)
    sys.stdout.write("\n".join(map(_escaped_in_json, text.split("\n"))) + "\n")


def _escaped_in_json(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(_utf16_escapes(c) if _is_obeyed(c) else c for c in line)


def _utf16_escapes(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def print_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A header and a line a row on stdout; numbers in full, text escaped as everywhere."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_in_csv(row.get(column, "")) for column in columns])


def _in_csv(value: object) -> object:
    return value if isinstance(value, int | float) else printable("" if value is None else value)


def print_table(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    whole: Collection[str] = (),
) -> None:
    """A table on stdout; long cells are wrapped, never cut; those of the columns `whole` stay."""
    table = Table(
        title=printable(title),
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in columns:
        numeric = bool(rows) and all(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(
            printable(column),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=column in whole,
        )
    for row in rows:
        table.add_row(*(printable(_cell(row.get(column, ""))) for column in columns))
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:  # a pipe or a file has no width to respect
        console = Console(markup=False, emoji=False, width=_PIPE_COLUMNS)
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)
