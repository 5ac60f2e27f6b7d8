"""Captions to ids: exact to the reference, and its promises on any string."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reelvec.models.clip.tokenizer import END, START, clean, encode, tokenize
from reelvec.models.errors import InputError
from tests.resources import GOLDENS

CASES = json.loads((GOLDENS / "tokenizer.json").read_text())["cases"]


@pytest.mark.parametrize("words", [32, 64])
def test_ids_of_the_reference(words):
    for case in CASES:
        ids = case.get(f"ids{words}", case["ids32"])
        wanted = ids + [0] * (words - len(ids))
        assert (
            tokenize([case["text"]], max_words=words, special_tokens="legacy")[0].tolist() == wanted
        )
        if "<|" not in case["text"]:
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


def test_special_strings_are_text_unless_legacy():
    caption = "a dog <|endoftext|> runs"
    assert END not in encode(caption)
    assert encode(caption, special_tokens="legacy") == [*encode("a dog"), END, *encode("runs")]
    double = "<|startoftext|><|endoftext|>"
    assert encode(double, special_tokens="legacy") == [START, END]
    swallowed = "wow!<|endoftext|>"  # the reference's pattern takes "!<|" as one run
    assert encode(swallowed, special_tokens="legacy") == encode(swallowed)


def test_truncation_keeps_the_end():
    long = tokenize(["dog " * 100], max_words=10)[0]
    assert long.tolist() == [START, *[1929] * 8, END]
    assert tokenize(["dog"], max_words=2)[0].tolist() == [START, END]
    with pytest.raises(InputError, match="take 2"):
        tokenize(["dog"], max_words=1)


@given(st.lists(st.text(max_size=60), max_size=4), st.integers(2, 20))
def test_any_text_gives_one_sentence(texts, words):
    ids = tokenize(texts, max_words=words)
    assert ids.shape == (len(texts), words) and ids.dtype == torch.int64
    for row in ids.tolist():
        end = row.index(END)
        assert row[0] == START and row.count(END) == 1 and row.count(START) == 1
        assert not any(row[end + 1 :]) and max(row) == END
