"""The naive twin of models/clip/tokenizer.py: the originals' way, word by word and pair by pair."""

import functools
import gzip
import html
import itertools

import ftfy
import regex

from reelvec.models.clip.tokenizer import MERGES_PATH

SPECIAL = ("<|startoftext|>", "<|endoftext|>")
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


@functools.cache
def byte_characters():
    """byte -> the printable character that stands for it."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    kept += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


@functools.cache
def table():
    """(rank of a pair, id of a token)."""
    lines = gzip.decompress(MERGES_PATH.read_bytes()).decode().split("\n")
    pairs = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    characters = list(byte_characters().values())
    tokens = [*characters, *(c + "</w>" for c in characters), *map("".join, pairs), *SPECIAL]
    return {pair: rank for rank, pair in enumerate(pairs)}, {t: i for i, t in enumerate(tokens)}


@functools.lru_cache(maxsize=2**16)
def word_ids(word):
    """Ids of one word: the pair of lowest rank is merged everywhere, until none has a rank."""
    ranks, ids = table()
    parts = [byte_characters()[byte] for byte in word.encode()]
    parts[-1] += "</w>"
    while pairs := {pair for pair in itertools.pairwise(parts) if pair in ranks}:
        best = min(pairs, key=ranks.__getitem__)
        merged, place = [], 0
        while place < len(parts):
            fits = tuple(parts[place : place + 2]) == best
            merged.append("".join(best) if fits else parts[place])
            place += 2 if fits else 1
        parts = merged
    return [ids[part] for part in parts]


def encode(text):
    words = regex.findall(WORDS, clean(text), regex.IGNORECASE)
    return [number for word in words for number in word_ids(word)]
