"""What stands under a weights file's name and is none: pages, pointers, broken downloads."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from reelvec.storage.errors import WeightsError

__all__ = ["check_is_weights"]

_HEAD = 1024
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<?xml", b"<error", b"<svg")
_PACKED = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
}
_FOREIGN = {
    b"GGUF": "of llama.cpp (GGUF)",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "an array of NumPy",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
}
_ZIP = b"PK\x03\x04"
_PARTIAL = (".part", ".partial", ".crdownload", ".incomplete", ".download", ".aria2", ".tmp")
_TEXT_PICKLES = b"c(}]"  # how pickles of protocol 0 begin, which are text
_TEXT = frozenset(range(32, 127)) | {9, 10, 12, 13}


def check_is_weights(path: Path) -> None:
    """Refuses a file that its first bytes show to be something else, and says what it is.

    Raises:
        WeightsError: nothing in it, a page, text, a Git-LFS pointer, an archive to unpack, another
            program's file, or the beginning of a download.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    what = _what_else(path, head, size=size)
    if what:
        raise WeightsError(f"{path} is no weights file: {what}", path=str(path))


def _what_else(path: Path, head: bytes, *, size: int) -> str:
    """What a file is instead, and what to do; nothing where it may be weights."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    begun = head.startswith(_ZIP) and not zipfile.is_zipfile(path)
    written = size > 8 and set(head) <= _TEXT and head[:1] not in _TEXT_PICKLES
    kinds = [
        (not size, "it is empty; download it again"),
        (
            head.startswith(_POINTER),
            "it is a Git-LFS pointer to one; `git lfs pull` in its folder fetches the file",
        ),
        (
            text.startswith(_PAGES),
            f"it is a web page of {size:,} bytes (a login, a warning, an error); open the address"
            " in a browser and download the file itself",
        ),
        *(
            (head.startswith(start), f"it is {kind}; unpack it, and name the file in it")
            for start, kind in _PACKED.items()
        ),
        *(
            (head.startswith(start), f"it is {kind}; save the weights as safetensors")
            for start, kind in _FOREIGN.items()
        ),
        (
            begun,
            f"it is the beginning of one, {size:,} bytes; its end is missing: download it again",
        ),
        (not any(head), f"it begins with {len(head):,} zeros: a download that did not end"),
        (
            path.suffix in _PARTIAL,
            f"its name ends with {path.suffix}: a download that did not end",
        ),
        (written, f"it is text, beginning ({head[:60].strip()!r:.70})"),
    ]
    return next((words for is_so, words in kinds if is_so), "")
