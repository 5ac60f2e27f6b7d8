"""Places of ids in a listing, against a dictionary."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.storage.arrow_values import column_of, floats_of, numbers_of, texts_of
from reelvec.storage.corpora import listed_ids
from reelvec.storage.corpora.listed_ids import ListedIds
from reelvec.storage.digests import digests

TEXTS = st.lists(st.text("aäz/€\U0001f600", max_size=3), unique=True, max_size=12)


@settings(max_examples=150, deadline=None)
@given(listed=TEXTS, rows=TEXTS, in_order=st.booleans(), widest=st.integers(0, 4))
def test_ids_are_found_where_a_dictionary_has_them(listed, rows, in_order, widest):
    listed = sorted(listed) if in_order else listed
    places = {text: place for place, text in enumerate(listed)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listed_ids, "_AS_MANY", widest)
        ids = ListedIds(texts_of(listed))
        for wanted in (rows, sorted(rows), listed[1:3], listed[2:5] + rows[:1]):
            expected = [places.get(text, -1) for text in wanted]
            assert ids.places(texts_of(wanted)).tolist() == expected
    assert (len(ids), [ids[place] for place in range(len(ids))]) == (len(listed), listed)
    assert ids.digests.find(digests(rows)).tolist() == [places.get(r, -1) for r in rows]


def test_a_table_in_the_order_of_the_listing_makes_no_digest(monkeypatch):
    monkeypatch.setattr(listed_ids, "column_digests", lambda texts: pytest.fail("made digests"))
    listed = [f"{number:03d}" for number in range(100)]
    ids = ListedIds(texts_of(listed))
    assert ids.places(texts_of(listed[20:50])).tolist() == list(range(20, 50))
    rows = [*listed[20:30], "0295", *listed[31:50]]  # one gone, one new
    assert ids.places(texts_of(rows)).tolist() == [*range(20, 30), -1, *range(31, 50)]


@settings(deadline=None)
@given(texts=TEXTS, numbers=st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=5))
def test_columns_are_those_that_pyarrow_makes(texts, numbers):
    assert texts_of(texts).equals(pa.array(texts, pa.large_string()))
    whole = np.arange(len(texts)) - 2
    assert column_of(whole[::-1]).equals(pa.array(whole[::-1].tolist(), pa.int64()))
    assert numbers_of(pa.chunked_array([whole[:1], whole[1:]], pa.int64())).tolist() == list(whole)
    found = floats_of(pa.chunked_array([numbers, [None, 1.0]], pa.float64()))
    expected = [*numbers, None, 1.0]
    np.testing.assert_array_equal(found, np.array(expected, np.float64))


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(UnicodeEncodeError):
        texts_of(["a", "\ud800"])
