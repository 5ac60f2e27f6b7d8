"""Captions to ids: the originals' way and `tokenizers` on whole captions, against ours.

``python -m tests.benchmarks.tokenizer``. Times are CPU time of one thread, cleaning (ftfy) apart:
it is the same for all and costs more than any of them. Captions are drawn by Zipf's law from 30,000
words of CLIP's own table, about as often as people repeat words.
"""

import time
from unittest import mock

import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from reelvec.models.clip import tokenizer
from tests.models.clip import simple_tokenizer

COLUMNS = "{:<28} {:>14} {:>9} {:>14} {:>9}"
CAPTIONS, WORDS_A_CAPTION = 5000, 10


def captions():
    """Clean captions of whole words."""
    _, ids = simple_tokenizer.table()
    ends = (token.removesuffix("</w>") for token in ids if token.endswith("</w>"))
    words = [word for word in ends if word.isascii() and word.isalpha()][:30_000]
    random = np.random.default_rng(0)
    ranks = np.minimum(random.zipf(1.3, size=(CAPTIONS, WORDS_A_CAPTION)), len(words)) - 1
    return [" ".join(words[rank] for rank in row) for row in ranks]


def whole_captions():
    """`tokenizers` as its own documentation uses it."""
    pairs, ids = simple_tokenizer.table()
    bare = Tokenizer(models.BPE(ids, list(pairs), end_of_word_suffix="</w>"))
    words = pre_tokenizers.Split(Regex(simple_tokenizer.WORDS), "removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bare.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    return lambda text: bare.encode(text).ids


def microseconds(encode, texts):
    """(first pass, best of three later ones), a clean caption."""
    passes = []
    for _ in range(4):
        started = time.process_time()
        for text in texts:
            encode(text)
        passes.append((time.process_time() - started) / len(texts) * 1e6)
    return passes[0], min(passes[1:])


def main():
    texts = captions()
    ways = {
        "the originals' way": simple_tokenizer.encode,
        "tokenizers, whole captions": whole_captions(),
        "ours": tokenizer.encode,
    }
    for way in ways.values():
        way("")  # loads its table
    with (
        mock.patch.object(tokenizer, "clean", str),
        mock.patch.object(simple_tokenizer, "clean", str),
    ):
        times = {name: microseconds(way, texts) for name, way in ways.items()}
        ids = [[way(text) for text in texts] for way in ways.values()]
    if not ids[0] == ids[1] == ids[2]:
        raise RuntimeError("the ways give other ids")
    print(COLUMNS.format("", "first pass, us", "to ours", "later ones, us", "to ours"))
    for name, (first, later) in times.items():
        ratios = (first / times["ours"][0], later / times["ours"][1])
        cells = (f"{first:.1f}", f"{ratios[0]:.1f}", f"{later:.1f}", f"{ratios[1]:.1f}")
        print(COLUMNS.format(name, *cells))
