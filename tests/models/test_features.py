"""Named feature tensors: rows stay together, shapes are checked, tables give them back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reelvec.models.errors import FeatureError
from reelvec.models.features import Column, TextFeatures, VideoFeatures

COLUMNS = {"words": Column((2, 3)), "mask": Column((2,), kind="integer")}


def features(rows, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return VideoFeatures(
        {
            "words": torch.randn(rows, 2, 3, generator=generator),
            "mask": torch.randint(0, 2, (rows, 2), generator=generator),
        }
    )


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_rows_must_agree():
    for tensors in ({}, {"a": torch.ones(2), "b": torch.ones(3)}, {"a": torch.tensor(1.0)}):
        with pytest.raises(FeatureError, match="share a first axis"):
            TextFeatures(tensors)


@given(st.integers(1, 8), st.data())
def test_index_and_cat_are_the_naive_ones(rows, data):
    whole = features(rows)
    picks = data.draw(st.lists(st.integers(0, rows - 1), max_size=10))
    naive = {n: torch.stack([whole[n][i] for i in picks]) if picks else whole[n][:0] for n in whole}
    assert equal(whole.index(picks), VideoFeatures(naive))
    assert equal(whole.index(torch.tensor(picks, dtype=torch.int64)), VideoFeatures(naive))
    cut = data.draw(st.integers(0, rows))
    assert equal(
        VideoFeatures.cat([whole.index(slice(0, cut)), whole.index(slice(cut, None))]), whole
    )
    assert len(whole.index(slice(0, cut))) == cut


def test_cat_refuses_other_names():
    with pytest.raises(FeatureError, match="one model"):
        TextFeatures.cat([TextFeatures({"a": torch.ones(1)}), TextFeatures({"b": torch.ones(1)})])
    with pytest.raises(FeatureError, match="at least one"):
        TextFeatures.cat([])


def test_casts_leave_integers_alone():
    half = features(3).to(dtype=torch.float16, device="cpu")
    assert half["words"].dtype == torch.float16 and half["mask"].dtype == torch.int64


@given(st.integers(0, 5))
def test_columns_there_and_back(rows):
    whole = features(rows)
    flat = whole.columns()
    assert flat["words"].shape == (rows, 6) and flat["words"].is_contiguous()
    assert equal(VideoFeatures.from_columns(flat, columns=COLUMNS), whole)


def test_other_tables_are_refused():
    flat = features(2).columns()
    with pytest.raises(FeatureError, match="no column words"):
        VideoFeatures.from_columns({"mask": flat["mask"]}, columns=COLUMNS)
    with pytest.raises(FeatureError, match="6 numbers a row, this model's has 8"):
        VideoFeatures.from_columns(flat, columns={"words": Column((2, 4))})
    with pytest.raises(FeatureError, match="no feature named 'frames'; there are words, mask"):
        features(1)["frames"]


def test_empty_tables_keep_their_shape_and_history_is_dropped():
    empty = VideoFeatures.from_columns(features(0).columns(), columns=COLUMNS)
    assert empty["words"].shape == (0, 2, 3)
    grown = TextFeatures({"a": torch.ones(2, requires_grad=True) * 2})
    assert grown["a"].requires_grad and not grown.detach()["a"].requires_grad
