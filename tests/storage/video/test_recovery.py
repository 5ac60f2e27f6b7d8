"""H.264 keyframes that are no clean starts, told by their recovery points; spec H.264 D.1.8."""

import pytest

from reelvec.storage.video.probe import probe
from reelvec.storage.video.recovery import nal_length_bytes, recovers_later
from tests.support import media

IDR, SLICE = b"\x65\x88", b"\x41\x9a"
AT_ONCE = b"\x06\x06\x01\x84\x80"  # count 0: a single 1 bit leads
LATER = b"\x06\x06\x01\x28\x80"
AFTER_ANOTHER = b"\x06\x05\xff\x02" + bytes(257) + LATER[1:]  # behind user data of 257 bytes


def with_lengths(*units):
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def with_start_codes(*units):
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


@pytest.mark.parametrize(("pack", "width"), [(with_lengths, 4), (with_start_codes, 0)])
@pytest.mark.parametrize(
    ("units", "later"),
    [
        ((IDR,), False),
        ((AT_ONCE, SLICE), False),
        ((LATER, SLICE), True),
        ((AFTER_ANOTHER.replace(bytes(257), b"u" * 257), SLICE), True),
        ((SLICE, LATER), False),  # of the next picture
        ((), False),
        ((b"\x06",), False),
        ((b"\x06\x06\x01",), False),
    ],
)
def test_the_message_before_the_first_slice_counts(pack, width, units, later):
    packet = pack(*units)
    assert recovers_later(memoryview(packet), length_bytes=width) == later
    for cut in range(len(packet)):  # no cut is an error
        recovers_later(memoryview(packet[:cut]), length_bytes=width)


def test_the_width_of_lengths_is_in_the_header():
    assert nal_length_bytes(b"\x01\x64\x00\x1f\xff\xe1") == 4
    assert nal_length_bytes(b"\x00\x00\x00\x01\x67") == 0
    assert nal_length_bytes(None) == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_intra_refresh_is_told_in_every_packing(suffix, tmp_path):
    arguments = media.KINDS["h264_refresh_mp4"].arguments
    assert probe(media.encode(tmp_path / f"refresh{suffix}", arguments)).refreshes


@pytest.mark.parametrize("name", sorted(set(media.KINDS) - {"h264_refresh_mp4"}))
def test_no_other_kind_is_taken_for_it(name):
    assert not probe(media.video(name)).refreshes
