"""Holes that demuxers pass over in silence are found, and whole files have none."""

import pytest

from reelvec.storage.video.holes import hole_in
from reelvec.storage.video.probe import probe
from tests.frame_truth.making import piped, x264
from tests.support import media

CLUSTER = bytes.fromhex("1f43b675")
SIMPLE_BLOCK = b"\xa3"


def written(path, data):
    path.write_bytes(data)
    return path


def spoiled(data, at, count=8):
    return data[:at] + bytes(count) + data[at + count :]


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("h264_mkv", lambda data: data.index(CLUSTER, len(data) // 2)),
        ("wmv2_asf", lambda data: data.index(b"\x82\0\0", len(data) // 2)),
        ("mpeg2_ps", lambda data: data.index(b"\0\0\1\xba", len(data) // 2)),
        ("h264_fragmented_mp4", lambda data: data.index(b"moof", len(data) // 2) - 4),
    ],
)
def test_an_element_that_is_not_there_is_found(tmp_path, kind, place):
    whole = media.video(kind)
    data = whole.read_bytes()
    at = place(data)
    broken = written(tmp_path / f"broken{whole.suffix}", spoiled(data, at))
    assert hole_in(whole) == ""
    assert probe(whole).truncated == ""
    assert f"at byte {at} " in hole_in(broken)
    assert f"at byte {at} " in probe(broken).truncated


def test_a_block_that_runs_over_its_cluster_is_found(tmp_path):
    data = bytearray(media.video("h264_mkv").read_bytes())
    at = data.index(SIMPLE_BLOCK, data.index(CLUSTER) + 12)
    data[at + 1 : at + 3] = b"\x7f\xfe"  # 16,382 bytes
    assert "at byte" in hole_in(written(tmp_path / "long.mkv", bytes(data)))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_live_recording_whose_sizes_are_open_has_none(tmp_path, suffix):
    name = {".mkv": "matroska", ".mp4": "ismv"}[suffix]
    live = tmp_path / f"live{suffix}"
    piped(suffix, name, *x264(), count=60).make(live)
    assert hole_in(live) == ""


@pytest.mark.parametrize("kind", ["h264_mkv", "wmv2_asf", "h264_fragmented_mp4"])
def test_any_cut_is_no_crash_and_no_hole_before_it(tmp_path, kind):
    data = media.video(kind).read_bytes()
    for length in (1, 17, 60, 1000, len(data) // 3, len(data) // 2, len(data) - 1):
        assert hole_in(written(tmp_path / "cut", data[:length])) == "", length


def test_what_follows_a_matroska_segment_belongs_to_no_one(tmp_path):
    data = media.video("h264_mkv").read_bytes()
    assert hole_in(written(tmp_path / "more.mkv", data + b"\0" * 500)) == ""


def test_elements_that_lead_nowhere_end(tmp_path):
    head = bytes.fromhex("1a45dfa380") + bytes.fromhex("18538067ff")
    assert hole_in(written(tmp_path / "tiny.mkv", head + b"\xec\x80" * 100_000)) == ""
    box = (16).to_bytes(4, "big") + b"moof" + bytes(8)
    endless = (1).to_bytes(4, "big") + b"free" + bytes(8)
    assert "at byte 16" in hole_in(written(tmp_path / "endless.mp4", box + endless))
