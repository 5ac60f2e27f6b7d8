"""Captions to token ids, as OpenAI's SimpleTokenizer gives them, some hundred times faster."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from reelvec.models.errors import InputError

__all__ = ["END", "START", "clean", "encode", "tokenize"]

START, END = 49406, 49407
"""Ids around a caption; END is the largest id, so a sentence's end is its first argmax."""

_SPECIAL = re.compile(r"<\|(?:start|end)oftext\|>")


def clean(text: str) -> str:
    """ftfy, HTML entities twice, whitespace collapsed, lower case.

    Source: specs/clip4clip-clip2video.md 5.1.
    """
    import ftfy

    fixed = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", fixed.strip()).strip().lower()


def encode(text: str, *, special_tokens: Literal["text", "legacy"] = "text") -> list[int]:
    """Ids of a raw caption, without start and end.

    Args:
        text: as it stands in the corpus.
        special_tokens: `text` reads a `<|endoftext|>` inside a caption as the characters it is;
            `legacy` as the token, which cuts the sentence there, as the originals do.
    """
    cleaned = clean(text)
    if special_tokens == "text":
        return list(_encoder().encode(cleaned))
    ids: list[int] = []
    done = 0
    for match in _SPECIAL.finditer(cleaned):
        if match.start() > done and not _ends_word(cleaned[match.start() - 1]):
            continue  # the original's pattern swallows it in a run of punctuation
        ids += _encoder().encode(cleaned[done : match.start()])
        ids.append(START if "start" in match[0] else END)
        done = match.end()
    return ids + list(_encoder().encode(cleaned[done:]))


def tokenize(
    texts: Sequence[str],
    *,
    max_words: int,
    special_tokens: Literal["text", "legacy"] = "text",
) -> Tensor:
    """Start, ids, end, zeros: int64 [T, max_words].

    A long caption keeps its first max_words - 2 tokens; the end token always stands.

    Args:
        texts: raw captions.
        max_words: tokens of a row, start and end included; at least 2.
        special_tokens: see `encode`.

    Raises:
        InputError: max_words below 2.
    """
    if max_words < 2:
        raise InputError(f"max_words {max_words}: start and end alone take 2")
    rows = torch.zeros(len(texts), max_words, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = [START, *encode(text, special_tokens=special_tokens)[: max_words - 2], END]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def _ends_word(character: str) -> bool:
    """Whether the original's pattern is done before what follows `character`."""
    return character.isspace() or unicodedata.category(character)[0] in "LN"


@functools.cache
def _encoder() -> Any:
    """The compiled tokenizer; loading it takes tens of milliseconds."""
    from instant_clip_tokenizer import Tokenizer

    return Tokenizer()
