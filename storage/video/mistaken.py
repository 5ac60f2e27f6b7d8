"""What a file is that is no video, by its first bytes: a page, a pointer, an archive, zeros."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["mistaken_for", "zeros_at_end"]

HEAD_BYTES = 4096
QUOTED = 60
"""Characters of a text that are quoted."""

MAGIC = (
    (b"\x1f\x8b", "gzip-compressed data; unpack it (gunzip)"),
    (b"BZh", "bzip2-compressed data; unpack it"),
    (b"\xfd7zXZ\0", "xz-compressed data; unpack it"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data; unpack it"),
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"%PDF-", "a PDF document"),
    (b"d8:announce", "a torrent, which only names where a file can be had"),
    (b"\x89PNG\r\n", "a still picture (PNG)"),
    (b"\xff\xd8\xff", "a still picture (JPEG)"),
    (b"BM", "a still picture (BMP)"),
    (b"ID3", "sound alone (MP3)"),
    (b"fLaC", "sound alone (FLAC)"),
)

PAGES = (
    ("version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    ("<!doctype html", "an HTML page, such as a site's error or log-in page"),
    ("<html", "an HTML page, such as a site's error or log-in page"),
    ("<?xml", "an XML text, such as a server's error"),
    ("#extm3u", "a playlist, which only names other files"),
    ("ffconcat", "a list of files"),
    ("{", "a JSON text, such as a server's error"),
    ("[", "a JSON text, such as a server's error"),
)


def mistaken_for(path: str | Path) -> str:
    """What the file at `path` is, in words, with the start of a text; "": not known."""
    with Path(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a still picture (WebP)"
    words = next((words for magic, words in MAGIC if head.startswith(magic)), "")
    if words or not head.strip(b"\0"):
        return words or "zeros, as a download has that reserved its space and never went on"
    return _text(head)


def zeros_at_end(path: str | Path) -> bool:
    """The last block is zeros: of a file that was never written to its end."""
    with Path(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(0, length - HEAD_BYTES))
        return length > HEAD_BYTES and not file.read(HEAD_BYTES).strip(b"\0")


def _text(head: bytes) -> str:
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = head[: len(head) // 2 * 2].decode("utf-16") if wide else head.decode("utf-8-sig")
    except UnicodeDecodeError as error:  # the last character may be cut in half
        if wide or error.start < len(head) - 3:
            return ""
        text = head[: error.start].decode("utf-8-sig")
    text = text.strip()
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return ""
    plain = text.lower()
    kind = next((kind for start, kind in PAGES if plain.startswith(start)), "a text")
    if kind == "a text" and "<html" in plain:
        kind = PAGES[1][1]
    return f"{kind} ({' '.join(text.split())[:QUOTED]!r} …)"
