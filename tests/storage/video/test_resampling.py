"""Resizing without torch against torch, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reelvec.storage.video.resampling import resample

SIDES = st.integers(1, 90)
HARD = {
    "noise": lambda shape: np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8),
    "black and white": lambda shape: (
        255 * np.random.default_rng(2).integers(0, 2, shape, dtype=np.uint8)
    ),
    "slope": lambda shape: np.broadcast_to(
        np.linspace(0, 255, shape[1]).astype(np.uint8)[None, :, None], shape
    ),
}


def torchs(picture, height, width, interpolation):
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        image, size=(height, width), mode=interpolation, antialias=True, align_corners=False
    )
    return resized[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("picture", HARD)
@pytest.mark.parametrize(
    ("height", "width", "new_height", "new_width"),
    [
        (240, 320, 224, 298),
        (480, 640, 64, 85),
        (360, 640, 224, 398),
        (224, 298, 224, 224),
        (298, 224, 224, 224),
        (100, 60, 224, 134),  # larger
    ],
)
def test_the_sizes_of_videos(height, width, new_height, new_width, picture, interpolation):
    source = HARD[picture]((height, width, 3))
    expected = torchs(source, new_height, new_width, interpolation)
    made = resample(source, new_height, new_width, interpolation)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, expected)


def test_sums_that_float32_does_not_hold():
    """Dark noise that is made 34 times smaller: sums are up to 6e7, a few close to a half."""
    source = np.random.default_rng(3).integers(0, 24, (3000, 1700, 3), dtype=np.uint8)
    expected = torchs(source, 3000, 50, "bicubic")
    np.testing.assert_array_equal(resample(source, 3000, 50, "bicubic"), expected)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bicubic", "bilinear"]))
@example(1, 1, 3, 5, "bicubic")
def test_any_size(height, width, new_height, new_width, interpolation):
    source = HARD["noise"]((height, width, 3))
    expected = torchs(source, new_height, new_width, interpolation)
    made = resample(source, new_height, new_width, interpolation)
    np.testing.assert_array_equal(made, expected)


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["bicubic", "bilinear"]), st.data())
def test_a_window_is_cut_out_of_the_whole(height, width, interpolation, data):
    shape = data.draw(st.tuples(SIDES, SIDES))
    window = tuple(
        slice(first, data.draw(st.integers(first + 1, side)))
        for side in shape
        for first in [data.draw(st.integers(0, side - 1))]
    )
    source = HARD["black and white"]((height, width, 3))
    whole = resample(source, *shape, interpolation)
    made = resample(source, *shape, interpolation, window=window)
    np.testing.assert_array_equal(made, whole[window])
