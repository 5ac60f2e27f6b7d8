"""Tables as text: CSV and its kin, a header first, read line by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reelvec.storage.corpora.annotations import Place, refused, shown, text_lines
from reelvec.storage.errors import CorpusError

__all__ = ["Layout", "layout_of", "read_columns", "read_rows"]

_SEPARATORS = (",", ";", "\t", "|")
_EXCEL_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[;,\t]*\s*', re.IGNORECASE)
"""Excel's own first line, which names the separator and is no row."""
_COMMA_TYPED = {"\t": "a tab", " ": "a space"}


@dataclass(frozen=True, slots=True)
class Layout:
    """What parts the values of a line, whether spaces follow it, and lines before the header."""

    separator: str = ","
    before: int = 0
    spaced: bool = False

    @property
    def words(self) -> str:
        """The separator, to be read."""
        return _COMMA_TYPED.get(self.separator, repr(self.separator))


def layout_of(path: Path, *, names: Collection[str], usual: str = ",") -> Layout:
    """The layout under which the header names one of ``names`` (case and spaces are no matter).

    Args:
        path: the file; its first two lines are looked at.
        names: columns one of which the header must name, lower case.
        usual: the separator tried first, and taken where none gives such a header.
    """
    first = list(islice(text_lines(path, newline=""), 2))
    excel = _EXCEL_LINE.fullmatch(first[0]) if first else None
    if excel:
        return Layout(excel[1], before=1)
    best, columns = Layout(usual), 0
    for separator in dict.fromkeys((usual, *_SEPARATORS)):
        header = _cells(first[0], separator) if first else []
        if any(cell.strip().casefold() in names for cell in header):
            return Layout(separator, spaced=any(cell.startswith(" ") for cell in header[1:]))
        if len(header) > columns and separator != usual:
            best, columns = Layout(separator), len(header)
    plain = _cells(first[0], usual) if first else []
    return best if columns > max(1, len(plain)) else Layout(usual)


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


class _Record:
    """Lines given to the parser, those of the record it is in kept for its complaints."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.lines: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.lines.append(line)
            yield line

    def opening(self, separator: str) -> int:
        """Lines from the record's first to that whose quote is still open at its end."""
        for number in range(len(self.lines) - 1, 0, -1):
            # as it is read, in the middle of a value: more than one value, and one opened anew
            if len(_cells('"' + self.lines[number], separator)) > 1:
                return number
        return 0


def read_rows(
    path: Path,
    *,
    columns: Sequence[str] = (),
    layout: Layout = Layout(),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column of each row of a CSV file with a header.

    Rows without any value are passed over, and so are empty values beyond the last column, both of
    which spreadsheets leave. Names of columns come without the spaces around them.

    Raises:
        CorpusError: ``columns`` are not all there, twice there, a row has another width, or a quote
            is not closed (the line that opens it is named).
    """
    record = _Record(islice(text_lines(path, newline=""), layout.before, None))
    reader = csv.reader(
        record, delimiter=layout.separator, skipinitialspace=layout.spaced, strict=True
    )
    start = layout.before + 1
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(Place(path, start), header, columns)
        while True:
            start += len(record.lines)
            record.lines.clear()
            row = next(reader, None)
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            while len(row) > len(header) and not row[-1].strip():
                row.pop()
            if len(row) != len(header):
                raise refused(
                    Place(path, start),
                    f"{len(row)} values for {len(header)} columns; quote values that hold"
                    f" {layout.words} or a line break",
                )
            yield start, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise _malformed(path, start, record, layout, error) from error


def read_columns(
    path: Path, *, layout: Layout, rows: int
) -> Iterator[tuple[list[int], dict[str, tuple[str, ...]]]]:
    """Lines and values by column of so many rows at once: those of `read_rows`.

    Raises:
        CorpusError: where it raises one, which says more.
    """
    lines = islice(text_lines(path, newline=""), layout.before, None)
    reader = csv.reader(
        lines, delimiter=layout.separator, skipinitialspace=layout.spaced, strict=True
    )
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(Place(path, layout.before + 1), header, ())
        while True:
            starts, some = [layout.before + 1 + reader.line_num], []
            for row in islice(reader, rows):
                some.append(row)
                starts.append(layout.before + 1 + reader.line_num)
            if not some:
                return
            widths = set(map(len, some))
            if widths != {len(header)} or not all(row[0].strip() for row in some):
                starts, some = _filled(starts, some, width=len(header))
            if set(map(len, some)) - {len(header)}:
                raise refused(Place(path, starts[0]), "rows of other widths")
            if some:
                values = zip(*some, strict=True)
                yield starts[: len(some)], dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise refused(Place(path), f"not well-formed CSV ({error})") from error


def _filled(
    starts: list[int], rows: list[list[str]], *, width: int
) -> tuple[list[int], list[list[str]]]:
    """Without rows of no value, and without empty values beyond the last column."""
    found = [
        (start, row)
        for start, row in zip(starts, rows, strict=False)
        if any(cell.strip() for cell in row)
    ]
    for _, row in found:
        while len(row) > width and not row[-1].strip():
            row.pop()
    return [start for start, _ in found], [row for _, row in found]


def _malformed(
    path: Path, start: int, record: _Record, layout: Layout, error: csv.Error
) -> CorpusError:
    """What csv says, at the line where it can be corrected."""
    if "unexpected end" in str(error) or "field limit" in str(error):
        line = start + record.opening(layout.separator)
        return refused(
            Place(path, line),
            "not well-formed CSV: a quote that opens here is never closed; close it, or double the"
            " quotes that belong to the text",
        )
    return refused(
        Place(path, start),
        f"not well-formed CSV ({error}); a quote in the row that begins here ends too early:"
        " double the quotes that belong to the text",
    )


def _check_header(at: Place, header: Sequence[str], columns: Sequence[str]) -> None:
    named = [name for name in header if name]
    missing = [name for name in columns if name not in named]
    doubled = [name for name in named if named.count(name) > 1] if len(named) < 1000 else []
    if missing or doubled:
        what = (
            f"column {missing[0]!r} is missing"
            if missing
            else f"a column is named twice ({shown(doubled[0])})"
        )
        raise refused(at, f"{what}; the first line names: {', '.join(named)[:200] or 'nothing'}")
