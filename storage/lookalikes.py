"""What a file is that is not what its name says, by its first bytes: a page, a pointer, an archive.

Downloads go wrong in the same ways whatever was to be fetched, so videos, weights and captions ask
here. A kind that somebody can read after all is for them to pass over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["HEAD_BYTES", "Lookalike", "LookalikeKind", "lookalike", "lookalike_by_head"]

HEAD_BYTES = 4096
"""What is looked at."""

QUOTED = 60
"""Characters of a text that are quoted."""


class LookalikeKind(StrEnum):
    """What sort of thing it is."""

    ARCHIVE = "archive"  # or compressed data: the file may be in it
    POINTER = "pointer"  # names the file, and is not it
    PAGE = "page"  # what a server says instead
    TEXT = "text"
    PICTURE = "picture"
    SOUND = "sound"
    DOCUMENT = "document"
    ZEROS = "zeros"


@dataclass(frozen=True, slots=True)
class Lookalike:
    """What a file is, and in words, with the remedy where it has its own."""

    kind: LookalikeKind
    words: str


_MAGIC = (
    (b"\x1f\x8b", LookalikeKind.ARCHIVE, "gzip-compressed data; unpack it (gunzip)"),
    (b"BZh", LookalikeKind.ARCHIVE, "bzip2-compressed data; unpack it"),
    (b"\xfd7zXZ\0", LookalikeKind.ARCHIVE, "xz-compressed data; unpack it"),
    (b"\x28\xb5\x2f\xfd", LookalikeKind.ARCHIVE, "zstd-compressed data; unpack it"),
    (b"PK\x03\x04", LookalikeKind.ARCHIVE, "a ZIP archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", LookalikeKind.ARCHIVE, "a 7z archive; unpack it"),
    (b"Rar!\x1a\x07", LookalikeKind.ARCHIVE, "a RAR archive; unpack it"),
    (b"%PDF-", LookalikeKind.DOCUMENT, "a PDF document"),
    (b"d8:announce", LookalikeKind.POINTER, "a torrent, which only names where a file can be had"),
    (b"\x89PNG\r\n", LookalikeKind.PICTURE, "a still picture (PNG)"),
    (b"\xff\xd8\xff", LookalikeKind.PICTURE, "a still picture (JPEG)"),
    (b"BM", LookalikeKind.PICTURE, "a still picture (BMP)"),
    (b"ID3", LookalikeKind.SOUND, "sound alone (MP3)"),
    (b"fLaC", LookalikeKind.SOUND, "sound alone (FLAC)"),
)

_HTML = "an HTML page, such as a site's error or log-in page"
_STARTS = (
    (
        "version https://git-lfs",
        LookalikeKind.POINTER,
        "a Git LFS pointer, not the file itself; run `git lfs pull`",
    ),
    ("<!doctype html", LookalikeKind.PAGE, _HTML),
    ("<html", LookalikeKind.PAGE, _HTML),
    ("<?xml", LookalikeKind.PAGE, "an XML text, such as a server's error"),
    ("#extm3u", LookalikeKind.POINTER, "a playlist, which only names other files"),
    ("ffconcat", LookalikeKind.POINTER, "a list of files"),
    ("{", LookalikeKind.TEXT, "a JSON text, such as a server's error"),
    ("[", LookalikeKind.TEXT, "a JSON text, such as a server's error"),
)


def lookalike(path: str | Path) -> Lookalike | None:
    """What the file at `path` is, with the start of a text; None: not known.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return lookalike_by_head(file.read(HEAD_BYTES))


def lookalike_by_head(head: bytes) -> Lookalike | None:
    """What a file is that begins with `head`, its first HEAD_BYTES or all of it."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Lookalike(LookalikeKind.PICTURE, "a still picture (WebP)")
    for magic, kind, words in _MAGIC:
        if head.startswith(magic):
            return Lookalike(kind, words)
    if not head.strip(b"\0"):
        words = "zeros, as a download has that reserved its space and never went on"
        return Lookalike(LookalikeKind.ZEROS, words)
    return _text(head)


def _text(head: bytes) -> Lookalike | None:
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = head[: len(head) // 2 * 2].decode("utf-16") if wide else head.decode("utf-8-sig")
    except UnicodeDecodeError as error:  # the last character may be cut in half
        if wide or error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8-sig")
    text = text.strip()
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    plain = text.lower()
    kind, words = LookalikeKind.TEXT, "a text"
    for start, kind_of_start, words_of_start in _STARTS:
        if plain.startswith(start):
            kind, words = kind_of_start, words_of_start
            break
    else:
        if plain.startswith("<") and "<html" in plain:  # behind a comment
            kind, words = LookalikeKind.PAGE, _HTML
    return Lookalike(kind, f"{words} ({' '.join(text.split())[:QUOTED]!r} …)")
