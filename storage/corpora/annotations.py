"""Reads annotation files strictly; what is wrong is named with file and line."""

from __future__ import annotations

import codecs
import io
import json
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reelvec.storage.corpora.opening import open_annotation
from reelvec.storage.errors import CorpusError

__all__ = [
    "DOCUMENT_BYTES",
    "Place",
    "parse_json",
    "read_json",
    "read_lines",
    "read_text",
    "refused",
    "shown",
    "text_lines",
    "typed",
]

DOCUMENT_BYTES = 128 * 2**20
DOCUMENT_VALUES = 10_000_000
"""What is read whole: its bytes, and its values, some 150 bytes each once they are read."""
LINE_CHARACTERS = 16 * 2**20
"""One row of a file that is read line by line."""

_CHUNK = 2**20
_SHOWN_CHARACTERS = 80

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an annotation file: the file and its line (0: no lines, or the whole file).

    JSON entries have no line of their own: there ``key``, a text of the entry, finds it, and only
    when an error needs it.
    """

    path: Path
    line: int = 0
    key: str = ""

    def located(self) -> Place:
        """The same place with its line looked up."""
        if self.line or not self.key:
            return self
        text = read_text(self.path)
        spellings = (json.dumps(self.key), json.dumps(self.key, ensure_ascii=False))
        lines = (line_of(text, spelling) for spelling in spellings)
        return Place(self.path, next(filter(None, lines), 0))

    def __str__(self) -> str:
        place = self.located()
        return f"{place.path}, line {place.line}" if place.line else str(place.path)


def refused(place: Place, message: str) -> CorpusError:
    """The error that names what stands at ``place``, to be raised."""
    place = place.located()
    return CorpusError(f"{place}: {message}", path=str(place.path), line=place.line)


def read_text(path: Path) -> str:
    """The whole file as text, UTF-8 with or without a byte order mark.

    Raises:
        CorpusError: missing, unreadable, in another encoding, or too large to be held.
    """
    with open_annotation(path) as file:
        raw = file.read(DOCUMENT_BYTES + 1)
    if len(raw) > DOCUMENT_BYTES:
        raise refused(
            Place(path),
            f"more than {DOCUMENT_BYTES:,} bytes; a document is read whole: write it as JSONL or"
            " Parquet, which are read row by row",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(path) from None


def text_lines(path: Path, *, newline: str | None) -> Iterator[str]:
    """The lines of the file with their ends, as ``open`` reads them with this ``newline``.

    Raises:
        CorpusError: missing, unreadable, in another encoding, or a line beyond all measure.
    """
    with (
        open_annotation(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline) as text,
    ):
        number = 0
        while True:
            try:
                line = text.readline(LINE_CHARACTERS + 1)
            except UnicodeDecodeError:
                raise _not_utf8(path) from None
            if not line:
                return
            number += 1
            if len(line) > LINE_CHARACTERS:
                raise refused(
                    Place(path, number),
                    f"a line of more than {LINE_CHARACTERS:,} characters; one row a line",
                )
            yield line


def _not_utf8(path: Path) -> CorpusError:
    """Which byte it was, found by reading once more."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with open_annotation(path) as file:
        while True:
            chunk = file.read(_CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                byte = error.object[error.start]
                what = f"byte {byte:#04x} is not UTF-8; save the file as UTF-8 again"
                return refused(Place(path, line), what)
            if not chunk:
                return refused(Place(path), "not UTF-8; save the file as UTF-8 again")
            line += chunk.count(b"\n")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each line; blank lines are passed over.

    Lines end as editors end them, not at every separator Unicode knows: captions hold those.
    """
    for line, text in enumerate(text_lines(path, newline=None), start=1):
        if text.strip():
            yield line, text.rstrip("\n")


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON document of type ``kind`` (list, dict); a key twice in one object is refused.

    Raises:
        CorpusError: not JSON, too large, another type, or a doubled key (its second line is named).
    """
    return typed(parse_json(read_text(path), path=path), kind, at=Place(path), what="the document")


def parse_json(text: str, *, path: Path) -> object:
    """The document that ``text``, all of the file ``path``, says; see ``read_json``."""
    values = sum(map(text.count, ",:[{"))
    if values > DOCUMENT_VALUES:
        raise refused(
            Place(path),
            f"some {values:,} values; a document is read whole: write it as JSONL or Parquet,"
            " which are read row by row",
        )

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise refused(
                Place(path, line_of(text, json.dumps(key), nth=2)),
                f"{shown(key)} stands twice in one object; an id is described once: merge the"
                " entries",
            )
        return document

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise refused(
            Place(path, error.lineno), f"not JSON ({error.msg}); download or export it again"
        ) from error
    except RecursionError:
        raise refused(Place(path), "nested too deeply to be an annotation file") from None
    except CorpusError:
        raise
    except ValueError:
        raise refused(Place(path), "holds a number of thousands of digits; correct it") from None


def shown(value: object) -> str:
    """A value for an error's words, cut to a line; never fails, whatever a file holds."""
    words = reprlib.Repr()
    words.maxstring = words.maxother = _SHOWN_CHARACTERS
    try:
        return words.repr(value)[:_SHOWN_CHARACTERS]
    except (ValueError, RecursionError):  # thousands of digits, nested without end
        return f"a {type(value).__name__} that cannot be shown"


def typed(value: object, kind: type[T], *, at: Place, what: str) -> T:
    """``value``, if it is of this type.

    Raises:
        CorpusError: it is of another.
    """
    if not isinstance(value, kind):
        raise refused(
            at,
            f"{what} is {shown(value)}; expected a {kind.__name__}: this is not the original"
            " format",
        )
    return value


def line_of(text: str, needle: str, *, nth: int = 1) -> int:
    """The 1-based line of the n-th occurrence of ``needle``; 0 where there is none."""
    at = -1
    for _ in range(nth):
        at = text.find(needle, at + 1)
        if at < 0:
            return 0
    return text.count("\n", 0, at) + 1
