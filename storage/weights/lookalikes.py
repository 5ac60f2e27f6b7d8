"""What stands under a weights file's name and is none: pages, pointers, broken downloads."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from reelvec.storage.errors import WeightsError
from reelvec.storage.lookalikes import lookalike

__all__ = ["check_is_weights"]

_HEAD = 16
_FOREIGN = {
    b"GGUF": "of llama.cpp (GGUF)",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "an array of NumPy",
    b"PAR1": "a Parquet file",
}
_ZIP = b"PK\x03\x04"
_PARTIAL = (".part", ".partial", ".crdownload", ".incomplete", ".download", ".aria2", ".tmp")
_TEXT_PICKLES = b"c(}]"  # how pickles of protocol 0 begin, which are text


def check_is_weights(path: Path) -> None:
    """Refuses a file that its first bytes show to be something else, and says what it is.

    Raises:
        WeightsError: nothing in it, a page, text, a Git LFS pointer, an archive to unpack, another
            program's file, or the beginning of a download.
    """
    try:
        what = _what_else(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    if what:
        raise WeightsError(f"{path} is no weights file: {what}", path=str(path))


def _what_else(path: Path) -> str:
    """What a file is instead, and what to do; nothing where it may be weights."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        size = os.fstat(stream.fileno()).st_size
    if not size:
        return "it is empty; download it again"
    for start, kind in _FOREIGN.items():
        if head.startswith(start):
            return f"it is {kind}; save the weights as safetensors"
    if path.suffix in _PARTIAL:
        return f"its name ends with {path.suffix}: a download that did not end"
    if head.startswith(_ZIP) and not zipfile.is_zipfile(path):  # torch.save writes a zip
        return f"it is the beginning of one, {size:,} bytes; its end is missing: download it again"
    # eight bytes of safetensors' length, or a pickle's first, may look like anything
    like_weights = head.startswith(_ZIP) or head[8:9] == b"{" or head[:1] in _TEXT_PICKLES
    held = None if like_weights else lookalike(path)
    return f"it holds {held.words}; download the file itself" if held else ""
