"""The stored square against Pillow and against torchvision's rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reelvec.storage.video.orientation import Orientation
from reelvec.storage.video.transform import fit, fitted_size, resized_size

SIDES = st.integers(1, 300)


def pillow(picture, size):
    """torchvision's Resize(size) and CenterCrop(size) on a PIL image, written out."""
    image = Image.fromarray(picture)
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    if new != image.size:
        image = image.resize(new, Image.Resampling.BICUBIC)
    left = round((new[0] - size) / 2.0)
    top = round((new[1] - size) / 2.0)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def fitted(picture, size, how):
    out = np.empty((size, size, 3), np.uint8)
    fit(picture, size=size, out=out, how=how)
    return out


def picture(height, width, seed=0):
    """Smooth colours, edges and noise: what video frames are made of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = 127 + 90 * np.sin(x / 17)[..., None] * np.cos(
        y / 11 + np.arange(3)[:, None, None]
    ).T.transpose(1, 0, 2)
    edges = 60 * ((x // 23 + y // 19) % 2)[..., None]
    return np.clip(smooth + edges + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (240, 320),
        (320, 240),
        (480, 640),
        (720, 1280),
        (225, 401),
        (224, 224),
        (224, 300),
        (90, 161),
    ],
)
def test_pillow_exact_and_torch_within_two_levels(height, width):
    source = picture(height, width)
    wanted = pillow(source, 224)
    assert np.array_equal(fitted(source, 224, "pillow"), wanted)
    difference = np.abs(fitted(source, 224, "torch").astype(int) - wanted)
    assert difference.max() <= 2
    assert difference.mean() <= 0.05


@given(SIDES, SIDES, st.integers(1, 64), st.sampled_from(["torch", "pillow"]))
def test_any_size_gives_the_square(height, width, size, how):
    if max(height, width) / min(height, width) > 30:
        return
    got = fitted(np.full((height, width, 3), 77, np.uint8), size, how)
    assert got.shape == (size, size, 3)
    assert (got == 77).all()


@given(SIDES, SIDES, st.integers(1, 256))
def test_resized_size_keeps_the_shorter_side(height, width, size):
    new = resized_size(height, width, size=size)
    assert min(new) == size
    assert max(new) == int(size * max(height, width) / min(height, width))


def test_rounding_of_the_crop_is_half_to_even():
    """Resized to 5 wide for size 2: (5 - 2) / 2 = 1.5 -> column 2; 3 wide: 0.5 -> column 0."""
    wide = np.repeat(np.arange(5, dtype=np.uint8)[None, :, None] * 50, 2, axis=0).repeat(3, axis=2)
    assert fitted(wide, 2, "torch")[0, :, 0].tolist() == [100, 150]
    narrow = wide[:, :3]
    assert fitted(narrow, 2, "torch")[0, :, 0].tolist() == [0, 50]


def test_views_and_negative_strides_are_fine():
    source = picture(100, 150)
    turned = Orientation(turns=1).show(source)
    assert np.array_equal(fitted(turned, 64, "torch"), fitted(turned.copy(), 64, "torch"))
    assert np.array_equal(
        fitted(source[::-1], 64, "pillow"), fitted(source[::-1].copy(), 64, "pillow")
    )


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [
        (40, 64, (40, 64)),  # smaller than asked for: never enlarged
        (48, 64, (48, 64)),
        (96, 200, (48, 100)),
        (200, 96, (100, 48)),
    ],
)
def test_native_pictures_keep_their_proportions_and_are_never_enlarged(height, width, wanted):
    assert fitted_size(height, width, size=48, fit="native") == wanted
    assert fitted_size(height, width, size=48, fit="crop") == (48, 48)
