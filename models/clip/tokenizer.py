"""Captions to token ids, equal to OpenAI's SimpleTokenizer on every text.

CLIP's table of merges lies beside this module (merges.txt.gz, under its own licence,
merges.LICENSE); the Hugging Face `tokenizers` library applies it.
"""

from __future__ import annotations

import functools
import gzip
import html
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reelvec.models.errors import InputError

__all__ = ["END", "START", "clean", "encode", "tokenize"]

START, END = 49406, 49407
"""Ids around a caption; END is the largest id, so a sentence's end is its first argmax."""

MERGES_PATH = Path(__file__).with_name("merges.txt.gz")

# The originals' pattern, which ignores case and is read by another engine: there a long s (U+017F)
# is an s, and U+0345, a mark whose capital is a letter, belongs to no word and is dropped.
_WORDS = r"'(?:[stmdſ]|re|ve|ll)|\p{L}+|\p{N}|[^\s\p{L}\p{N}\x{345}]+"

_CACHED_CHUNKS = 2**16  # more than the words of MSR-VTT's 200,000 captions; some 20 MB when full


def clean(text: str) -> str:
    """ftfy, HTML entities twice, whitespace collapsed, lower case.

    Source: specs/clip4clip-clip2video.md 5.1.
    """
    import ftfy

    fixed = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", fixed.strip()).strip().lower()


def encode(text: str) -> list[int]:
    """Ids of a raw caption, without start and end.

    A `<|endoftext|>` inside it is read as the characters it is; the originals read it as the
    token, which cuts the sentence there.
    """
    return list(itertools.chain.from_iterable(map(_encoder(), clean(text).split())))


def tokenize(texts: Sequence[str], *, max_words: int) -> Tensor:
    """Start, ids, end, zeros: int64 [T, max_words].

    A long caption keeps its first max_words - 2 tokens; the end token always stands.

    Args:
        texts: raw captions.
        max_words: tokens of a row, start and end included; at least 2.

    Raises:
        InputError: max_words below 2.
    """
    if max_words < 2:
        raise InputError(f"max_words {max_words}: start and end alone take 2")
    rows = torch.zeros(len(texts), max_words, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = [START, *encode(text)[: max_words - 2], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows


@functools.cache
def _encoder() -> Callable[[str], tuple[int, ...]]:
    """A function from what stands between two spaces, which no word reaches over, to its ids."""
    from tokenizers import Regex, pre_tokenizers

    words = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    splitter, model = pre_tokenizers.Sequence([words, as_bytes]), _model()

    @functools.lru_cache(maxsize=_CACHED_CHUNKS)
    def chunk_ids(chunk: str) -> tuple[int, ...]:
        words = splitter.pre_tokenize_str(chunk)
        return tuple(token.id for word, _ in words for token in model.tokenize(word))

    return chunk_ids


@functools.cache
def _model() -> Any:
    """The byte-pair encoding; loading it takes some 0.2 s, once a process."""
    from tokenizers import models

    _, table = gzip.decompress(MERGES_PATH.read_bytes()).decode().split("\n", maxsplit=1)
    parts = table.split()
    merges = list(zip(parts[::2], parts[1::2], strict=True))
    characters = _byte_characters()
    tokens = [*characters, *(c + "</w>" for c in characters), *map("".join, merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return models.BPE(vocabulary, merges, end_of_word_suffix="</w>")


def _byte_characters() -> list[str]:
    """A character for each byte, in CLIP's order: printable ones first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *map(chr, range(256, 512 - len(printable)))]
