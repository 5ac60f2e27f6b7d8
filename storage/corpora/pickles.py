"""MSVD's captions, a pickle: read as data, nothing of it executed."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import NoReturn

from reelvec.storage.corpora.annotations import DOCUMENT_BYTES, Place, refused, shown
from reelvec.storage.corpora.opening import open_annotation

__all__ = ["read_pickled_captions"]

_CODE = {"GLOBAL", "STACK_GLOBAL", "INST"}
_HASHED = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
"""Nested in themselves, their hash takes time that doubles with every level."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, numbers and text; every name of code is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants to run {module}.{name}")


def read_pickled_captions(path: Path) -> dict[str, list[str]]:
    """MSVD's ``raw-captions.pkl``: id -> captions, each a list of words, joined by spaces.

    Nothing of the file is executed: only plain containers and text are built.

    Raises:
        CorpusError: not such a pickle, one that asks for more than containers and text, or one
            whose captions are far longer than the file.
    """
    with open_annotation(path) as file:
        raw = file.read(DOCUMENT_BYTES + 1)
    if len(raw) > DOCUMENT_BYTES:
        raise refused(Place(path), f"more than {DOCUMENT_BYTES:,} bytes; MSVD's is 3 MB")
    try:
        _check(raw)
        content = _PlainUnpickler(io.BytesIO(raw), encoding="utf-8").load()
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
    room = DOCUMENT_BYTES
    for video_id, sentences in content.items():
        _check_entry(video_id, sentences, path=path)
        room -= sum(1 + len(word) for words in sentences for word in words)
        if room < 0:  # lists that are referred to again and again
            raise refused(Place(path), "its captions are far longer than the file; get it again")
        captions[video_id] = [" ".join(words) for words in sentences]
    return captions


def _check(raw: bytes) -> None:
    """Refuse what takes time or memory beyond the file's size, before any of it is built.

    Raises:
        pickle.UnpicklingError, or what pickletools says of bytes that are no pickle.
    """
    for number, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        if opcode.name in _CODE:
            return  # the unpickler stops here, and says what it was asked to run
        if opcode.name in _HASHED:
            raise pickle.UnpicklingError(f"it holds a {opcode.name.rstrip('123').lower()}")
        if opcode.name.endswith("PUT") and int(str(argument)) > number:
            raise pickle.UnpicklingError(f"it keeps a value at place {argument}, beyond its own")


def _check_entry(video_id: object, sentences: object, *, path: Path) -> None:
    if not isinstance(video_id, str) or not isinstance(sentences, list):
        raise refused(Place(path), f"{shown(video_id)}: expected a text id with a list of captions")
    for words in sentences:
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise refused(
                Place(path), f"{shown(video_id)}: caption {shown(words)} is no list of words"
            )
