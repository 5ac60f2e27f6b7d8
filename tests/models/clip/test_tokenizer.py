"""Captions to ids: exact to the reference, and its promises on any string."""

import gzip
import hashlib
import json
import subprocess
import sys
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.models.clip.tokenizer import END, MERGES_PATH, START, clean, encode, tokenize
from reelvec.models.errors import InputError
from tests.models.clip import simple_tokenizer
from tests.resources import GOLDENS

CASES = json.loads((GOLDENS / "tokenizer.json").read_text())["cases"]
#: texts drawn at random seldom hold these
FRAGMENTS = [*"'sſS1²Ⅷ!éİ \n\x1c\u200d\u2028\u0345\ud800", "'ſ", "'ll", "dog", "ᾳ", "&amp;#x1c;"]
FRAGMENTS += ["<|", "|>", "<|startoftext|>", "<|ſtartoftext|>", "<|endoftext|>", "&lt;|endoftext|>"]


@pytest.mark.parametrize("words", [32, 64])
def test_ids_of_the_reference(words):
    for case in CASES:
        ids = case.get(f"ids{words}", case["ids32"])
        wanted = ids + [0] * (words - len(ids))
        if "<|" not in case["text"]:  # the reference reads special tokens there
            assert tokenize([case["text"]], max_words=words)[0].tolist() == wanted


def test_known_ids():
    assert encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert tokenize(["A  photo\tof a CAT "], max_words=8)[0].tolist() == [
        START,
        *encode("a photo of a cat"),
        END,
        0,
    ]


def test_cleaning():
    assert clean("  A&amp;amp;B \n\t Ünï  ") == "a&b ünï"
    assert clean("a <b &amp;lt; c") == "a <b < c"  # ftfy leaves entities beside a "<" to us
    assert clean("donâ€™t") == "don't"


def test_special_strings_are_text():
    ids = encode("a dog <|endoftext|> runs <|startoftext|>")
    assert START not in ids and END not in ids
    assert ids[:2] == encode("a dog") and encode("runs")[0] in ids


def test_truncation_keeps_the_end():
    long = tokenize(["dog " * 100], max_words=10)[0]
    assert long.tolist() == [START, *[1929] * 8, END]
    assert tokenize(["dog"], max_words=2)[0].tolist() == [START, END]
    with pytest.raises(InputError, match="take 2"):
        tokenize(["dog"], max_words=1)


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4), st.integers(2, 20))
def test_any_text_gives_one_sentence(texts, words):
    ids = tokenize(texts, max_words=words)
    assert ids.shape == (len(texts), words) and ids.dtype == torch.int64
    for row in ids.tolist():
        end = row.index(END)
        assert row[0] == START and row.count(END) == 1 and row.count(START) == 1
        assert not any(row[end + 1 :]) and max(row) == END


def assigned(block):
    """Characters of a block of 256 that this Python's Unicode knows, surrogates apart."""
    characters = map(chr, range(block * 256, block * 256 + 256))
    return [c for c in characters if unicodedata.category(c) not in ("Cn", "Co", "Cs")]


@settings(deadline=None)  # the first example loads the table
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(assigned(0) + assigned(3)))))
def test_any_text_is_read_as_its_naive_twin_reads_it(parts):
    text = "".join(parts)
    assert encode(text) == simple_tokenizer.encode(text)


def test_any_character_is_read_as_its_naive_twin_reads_it():
    """Every block below U+3400, then one in 16: ideographs and Hangul, tens of thousands, alike."""
    for block in [*range(0x34), *range(0x34, 0x200, 16), *range(0x1F0, 0x200)]:
        text = " ".join(f"a{c}1{c}-{c}'{c}" for c in assigned(block))
        assert encode(text) == simple_tokenizer.encode(text), hex(block * 256)


def test_the_table_is_the_published_one():
    lines = gzip.decompress(MERGES_PATH.read_bytes())
    wanted = "685491abbdad36159d094ecdc23bebc0dd53f8d1df35c4d74ef6036db2ba7572"
    assert hashlib.sha256(lines).hexdigest() == wanted
    assert "OpenAI" in MERGES_PATH.with_name("merges.LICENSE").read_text()


def test_the_library_is_loaded_late_and_survives_a_fork_in_silence():
    program = """
import os, sys
from reelvec.models.clip.tokenizer import encode
late = "tokenizers" not in sys.modules
before = encode("a dog")
child = os.fork()
if child == 0:
    os._exit(encode("a dog runs")[:2] != before)
sys.exit(not late or os.waitpid(child, 0)[1])
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
