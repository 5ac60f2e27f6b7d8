"""All eight orientations of a display matrix, in every decoder, against ffmpeg's own."""

import itertools
import struct

import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video.contract import FrameSink, Reading
from reelvec.storage.video.decoder_table import kind_of
from reelvec.storage.video.decoders import READERS
from reelvec.storage.video.orientation import Orientation, TiltedError, orientation_of
from reelvec.storage.video.probe import probe
from reelvec.storage.video.selective import read_sequentially
from reelvec.storage.video.transform import fit
from tests.support import media

SIZE = 64
EIGHT = list(itertools.product((0, 90, 180, 270), (False, True)))
EVERY_READER = {**READERS, "sequential": read_sequentially}


class Frame:
    """As much of a decoded frame as `orientation_of` looks at."""

    def __init__(self, *entries):
        self.side_data = {} if not entries else _AnyKey(struct.pack("=9i", *entries))


class _AnyKey(dict):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def get(self, key, default=None):
        return self.value


@pytest.mark.parametrize(("degrees", "mirrored"), EIGHT)
def test_a_matrix_says_where_each_corner_goes(degrees, mirrored):
    """By its definition: the corner at (x, y) from the centre is shown at matrix times (x, y)."""
    turn = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
    a, b = turn[0] * (-1 if mirrored else 1), -turn[1] * (-1 if mirrored else 1)
    c, d = turn[1], turn[0]
    frame = Frame(a << 16, b << 16, 0, c << 16, d << 16, 0, 7, 9, 1 << 30)
    orientation = orientation_of(frame)
    assert orientation == Orientation(turns=degrees // 90, mirrored=mirrored)
    stored = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    shown = np.empty_like(stored)
    for y, x in itertools.product((-1, 1), (-1, 1)):
        shown[(b * x + d * y + 1) // 2, (a * x + c * y + 1) // 2] = stored[
            (y + 1) // 2, (x + 1) // 2
        ]
    assert np.array_equal(orientation.show(stored), shown)


def test_no_matrix_a_void_one_and_a_tilted_one():
    assert orientation_of(Frame()) is None
    assert orientation_of(Frame(*[0] * 9)) == Orientation()
    assert orientation_of(Frame(3 << 16, 900, 0, -900, 2 << 16, 0, 0, 0, 0)) == Orientation()
    with pytest.raises(TiltedError, match="by 45 degrees"):
        orientation_of(Frame(46341, -46341, 0, 46341, 46341, 0, 0, 0, 1 << 30))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    frames = media.painted(4)
    arguments = media.KINDS["h264_mp4"].arguments
    return media.encode(tmp_path_factory.mktemp("stored") / "x.mp4", arguments, frames=frames)


def turned(stored, suffix, *options):
    path = stored.with_name(f"turned{suffix}")
    media.ffmpeg(*options, "-i", str(stored), "-c", "copy", str(path))
    return path


def shown_by_ffmpeg(path, found):
    """Every picture as the ffmpeg program shows it, [N, 64, 64, 3]."""
    raw = path.with_suffix(".rgb")
    media.ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", str(raw))
    pictures = np.fromfile(raw, np.uint8).reshape(-1, found.height, found.width, 3)
    squares = np.empty((len(pictures), SIZE, SIZE, 3), np.uint8)
    for picture, square in zip(pictures, squares, strict=True):
        fit(picture, size=SIZE, out=square)
    return squares


def read(reader, found):
    options = FrameOptions(size=SIZE)
    picks = np.arange(found.frames_counted)
    sink = FrameSink(picks, options=options, allocate=lambda shape: np.zeros(shape, np.uint8))
    reader(Reading(path=found.path, probe=found, sink=sink, options=options))
    return sink.frames


@pytest.mark.parametrize(
    ("degrees", "mirrored", "suffix"),
    [(*each, ".mp4") for each in EIGHT] + [(90, True, ".mkv"), (180, False, ".mkv")],
)
def test_every_decoder_shows_what_a_player_shows(stored, degrees, mirrored, suffix):
    flip = ("-display_hflip",) if mirrored else ()
    path = turned(stored, suffix, "-display_rotation", str(degrees), *flip)
    found = probe(path)
    assert found.orientation.mirrored == mirrored
    assert (found.width, found.height) == ((120, 160) if degrees % 180 else (160, 120))
    assert kind_of(found).rotated == (degrees != 0 or mirrored)
    wanted = shown_by_ffmpeg(path, found)
    for name, reader in EVERY_READER.items():
        assert np.array_equal(read(reader, found), wanted), name


def test_a_matrix_inside_the_stream_holds_for_all_that_follows(stored):
    """H.264's own message comes with the keyframe alone."""
    message = "h264_metadata=display_orientation=insert:rotate=90"
    path = stored.with_name("turned.ts")
    media.ffmpeg("-i", str(stored), "-c", "copy", "-bsf:v", message, str(path))
    found = probe(path)
    assert (found.rotation, found.width, found.height) == (90, 120, 160)
    for name in ("selective", "sequential", "ffmpeg"):
        upright = np.rot90(read(EVERY_READER[name], found), -1, axes=(1, 2))
        assert [media.barcode(picture) for picture in upright] == [0, 1, 2, 3], name


@pytest.mark.parametrize("degrees", ["30", "89"])
def test_a_tilted_picture_is_refused_by_its_angle(stored, degrees):
    with pytest.raises(VideoError, match=f"turns the picture by {degrees} degrees") as raised:
        probe(turned(stored, ".mov", "-display_rotation", degrees))
    assert raised.value.reason == "unreadable"
