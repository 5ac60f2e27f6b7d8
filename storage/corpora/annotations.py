"""Reads annotation files strictly; what is wrong is named with file and line."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from reelvec.storage.errors import CorpusError

__all__ = [
    "Place",
    "read_json",
    "read_lines",
    "read_pickled_captions",
    "read_rows",
    "refused",
    "typed",
]


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
    """The file as text, UTF-8 with or without a byte order mark.

    Raises:
        CorpusError: missing, unreadable, or in another encoding.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise refused(
            Place(path), "no such file; put the annotation file there or correct the path"
        ) from None
    except OSError as error:
        raise refused(
            Place(path), f"cannot be read ({error.strerror}); make it a readable file"
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refused(
            Place(path, line),
            f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8 again",
        ) from error


def read_rows(
    path: Path, *, columns: Sequence[str] = (), delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column of each row of a CSV file with a header.

    Raises:
        CorpusError: ``columns`` are not all there, twice there, or a row has another width.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        missing = [name for name in columns if name not in header]
        if missing or len(set(header)) != len(header):
            what = f"column {missing[0]!r} is missing" if missing else "a column is named twice"
            raise refused(
                Place(path, 1), f"{what}; the first line names: {', '.join(header) or 'nothing'}"
            )
        start = reader.line_num + 1
        for row in reader:
            line, start = start, reader.line_num + 1
            if not row:  # an empty line
                continue
            if len(row) != len(header):
                raise refused(
                    Place(path, line),
                    f"{len(row)} values for {len(header)} columns; quote values that hold"
                    f" {delimiter!r} or a line break",
                )
            yield line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise refused(
            Place(path, reader.line_num), f"not well-formed CSV ({error}); check its quotes"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each line; blank lines are passed over.

    Lines end as editors end them, not at every separator Unicode knows: captions hold those.
    """
    for line, text in enumerate(io.StringIO(read_text(path), newline=None), start=1):
        if text.strip():
            yield line, text.rstrip("\n")


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON document of type ``kind`` (list, dict); a key twice in one object is refused.

    Raises:
        CorpusError: not JSON, another type, or a doubled key (its second line is named).
    """
    text = read_text(path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise refused(
                Place(path, line_of(text, json.dumps(key), nth=2)),
                f"{key!r} stands twice in one object; an id is described once: merge the entries",
            )
        return document

    try:
        content = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise refused(
            Place(path, error.lineno), f"not JSON ({error.msg}); download or export it again"
        ) from error
    except RecursionError:
        raise refused(Place(path), "nested too deeply to be an annotation file") from None
    return typed(content, kind, at=Place(path), what="the document")


def typed(value: object, kind: type[T], *, at: Place, what: str) -> T:
    """``value``, if it is of this type.

    Raises:
        CorpusError: it is of another.
    """
    if not isinstance(value, kind):
        raise refused(
            at,
            f"{what} is {value!r:.80}; expected a {kind.__name__}: this is not the original format",
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


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, tuples, numbers and text; every name of code is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants to run {module}.{name}")


def read_pickled_captions(path: Path) -> dict[str, list[str]]:
    """MSVD's ``raw-captions.pkl``: id -> captions, each a list of words, joined by spaces.

    Nothing of the file is executed: only plain containers and text are built.

    Raises:
        CorpusError: not such a pickle, or one that asks for more than containers and text.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="utf-8").load()
    except FileNotFoundError:
        raise refused(
            Place(path), "no such file; put the annotation file there or correct the path"
        ) from None
    except UnicodeDecodeError:
        raise refused(Place(path), "its text is not UTF-8; save the file again") from None
    except Exception as error:
        raise refused(
            Place(path),
            f"not a pickle of plain containers and text ({error}); only those are read: get the"
            " original file again",
        ) from error
    if not isinstance(content, dict):
        raise refused(Place(path), f"holds a {type(content).__name__}; expected id -> captions")
    captions: dict[str, list[str]] = {}
    for video_id, sentences in content.items():
        if not isinstance(video_id, str) or not isinstance(sentences, list):
            raise refused(Place(path), f"{video_id!r}: expected a text id with a list of captions")
        for words in sentences:
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise refused(Place(path), f"{video_id!r}: caption {words!r} is no list of words")
        captions[video_id] = [" ".join(words) for words in sentences]
    return captions
