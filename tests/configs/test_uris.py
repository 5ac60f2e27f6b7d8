"""Names of files in addresses of a web server."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reelvec.configs.uris import name_in_web, spelled_for_web

LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
PARTS = st.text(LETTERS, min_size=1, max_size=8)
NAMES = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3)


@given(NAMES.map("/".join))
@example("my clip.mp4")
@example("100%25.mp4")
@example("café/?#.mp4")
def test_a_name_comes_back_from_its_address(name):
    spelled = spelled_for_web(name)
    assert spelled.isascii() and not {" ", "?", "#"} & set(spelled)
    assert name_in_web(spelled) == name


@pytest.mark.parametrize("spelled", ["my%20clip.mp4", "my clip.mp4", "caf%c3%a9.mp4", "a%2Bb.mp4"])
def test_addresses_of_one_name_become_one(spelled):
    name = name_in_web(spelled)
    assert name in {"my clip.mp4", "café.mp4", "a+b.mp4"}
    assert name_in_web(spelled_for_web(name)) == name


@pytest.mark.parametrize("path", ["x%2Fy", "x%00", "%FF.mp4", "x/%2E%2E/y", "%2e/y", "../y"])
def test_what_no_file_can_be_called_has_no_name(path):
    assert name_in_web(path) is None


def test_half_a_surrogate_pair_names_no_file():
    assert name_in_web(spelled_for_web("\ud800.mp4")) is None
