"""Every decoder against painted barcodes, on every kind of file; guards and fallbacks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video import decoders, selective
from reelvec.storage.video.contract import CountDiffersError
from reelvec.storage.video.decoders import read_frames
from reelvec.storage.video.decord_reader import read_with_decord
from reelvec.storage.video.ffmpeg_reader import ffmpeg_program
from tests.storage.video.contracts import (
    DecoderContract,
    barcodes,
    everything,
    found,
    pick_sets,
    read_with,
    trusted,
)
from tests.support import media

ALL = sorted(media.KINDS)
ALWAYS_WHOLE = {"h264_avi_b", "mpeg4_b_avi", "mpeg2_ps", "h264_refresh_mp4"}
"""Kinds whose frames cannot be told by time or start nowhere: guard 1 decodes everything."""


@pytest.mark.parametrize("name", ALL)
class TestSelective(DecoderContract):
    decoder = "selective"


@pytest.mark.parametrize("name", ALL)
class TestFfmpeg(DecoderContract):
    decoder = "ffmpeg"

    @staticmethod
    def pick_sets(count):
        return pick_sets(count)[:1]  # it decodes the whole file for any set


@pytest.mark.parametrize("name", trusted("decord"))
class TestDecord(DecoderContract):
    decoder = "decord"


def read(name, picks, **options):
    return read_frames(
        np.asarray(picks), probe=found(name), options=FrameOptions(size=64, **options)
    )


# Selective: is it selective, and does each guard hold?


@pytest.fixture
def whole_decodes(monkeypatch):
    """Counts the times everything was decoded."""
    calls = []

    def counting(reading, original=selective.read_sequentially):
        calls.append(reading)
        original(reading)

    monkeypatch.setattr(selective, "read_sequentially", counting)
    return calls


@pytest.mark.parametrize("name", ALL)
def test_a_full_decode_is_the_exception(name, whole_decodes):
    sets = pick_sets(len(everything(name)))[:4]
    for picks in sets:
        read(name, picks, decoder="selective")
    assert len(whole_decodes) == (len(sets) if name in ALWAYS_WHOLE else 0)


def test_intra_refresh_is_noticed_by_the_other_guards_too(whole_decodes):
    """Were its recovery points not written."""
    file = dataclasses.replace(found("h264_refresh_mp4"), refreshes=False)
    picks = np.array([100])
    decoded = read_frames(picks, probe=file, options=FrameOptions(size=64))
    assert barcodes("h264_refresh_mp4", decoded.frames) == [100]
    assert whole_decodes


def test_selective_decodes_little(monkeypatch):
    """One target in the middle of five groups of 30: at most its own group is decoded."""
    taken = []

    def counting(self, packet, original=selective._Selective._take):
        taken.append(packet)
        original(self, packet)

    monkeypatch.setattr(selective._Selective, "_take", counting)
    read("h264_mp4", [75], decoder="selective")
    assert 1 <= len(taken) <= 30


@pytest.mark.parametrize("name", sorted(set(ALL) - ALWAYS_WHOLE))
def test_passing_over_groups_needs_no_full_decode(name, monkeypatch, whole_decodes):
    """As in long files: groups without a target are passed over, by a seek where one is safe."""
    monkeypatch.setattr(selective, "WORTH_A_SEEK", 0)
    last = len(media.kept(name)) - 1
    for picks in ([3, last - 5, last], [last // 2], [last - 5, last]):
        shown = barcodes(name, read(name, picks, decoder="selective").frames)
        assert shown == [media.kept(name)[i] for i in picks]
    assert not whole_decodes


def test_a_seek_that_lands_late_is_noticed(monkeypatch, whole_decodes):
    monkeypatch.setattr(selective, "WORTH_A_SEEK", 0)

    def late(self, key, original=selective._Selective._seek):
        original(self, min(key + 30, 120))
        if self._at > key:
            raise selective._GuardError

    monkeypatch.setattr(selective._Selective, "_seek", late)
    assert barcodes("h264_mp4", read("h264_mp4", [35], decoder="selective").frames) == [35]
    assert whole_decodes


@pytest.mark.parametrize("name", ["h264_open_mp4", "h264_open_mkv", "hevc_open_mp4", "vp9_webm"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.sets(st.integers(0, 149), min_size=1, max_size=8))
def test_seeking_for_any_targets_is_right(name, chosen, monkeypatch):
    monkeypatch.setattr(selective, "WORTH_A_SEEK", 0)
    picks = sorted(chosen)
    assert np.array_equal(read(name, picks).frames, everything(name)[picks])


def test_packets_without_a_picture_are_recounted(monkeypatch):
    """A file whose packets promise more frames than come out: choose again from what came."""
    promised = found("h264_avi_b").recounted(np.arange(152))
    with pytest.raises(CountDiffersError) as raised:
        read_frames(np.array([0, 151]), probe=promised)
    again = promised.recounted(raised.value.ticks)
    assert again.frames_counted == 150
    decoded = read_frames(np.array([149]), probe=again, options=FrameOptions(size=64))
    assert barcodes("h264_avi_b", decoded.frames) == [149]


def test_recounting_by_time_drops_the_packets_not_shown():
    file = found("h264_mp4")
    again = file.recounted(np.delete(np.sort(file.packets.pts), 10))
    assert again.frames_counted == 149
    assert again.pts_seconds[10] == file.pts_seconds[11]
    decoded = read_frames(np.array([10]), probe=again, options=FrameOptions(size=64))
    assert barcodes("h264_mp4", decoded.frames) == [11]


# decord: where it may be used is in the table (test_decoder_table.py).


@pytest.mark.parametrize("name", ["h264_avi_no_b", "h264_open_mp4", "mpeg4_b_mp4"])
def test_decord_would_be_wrong_where_the_table_says_no(name):
    """The reason for the table: silently wrong frames, were it asked."""
    wrong = 0
    for picks in pick_sets(150):
        got = barcodes(name, read_with(read_with_decord, found(name), picks))
        wrong += sum(a != b for a, b in zip(got, picks, strict=True))
    assert wrong > 0


def test_decord_asked_for_where_it_is_wrong_gives_way_and_says_so():
    decoded = read("h264_avi_no_b", [0, 100], decoder="decord")
    assert decoded.decoder == "selective"
    assert decoded.attempts == ("decord: not proven right on h264 in avi of this kind",)
    assert barcodes("h264_avi_no_b", decoded.frames) == [0, 100]


# The chain.


def fail(words):
    def reader(reading):
        raise VideoError(words, path=reading.path, reason="damaged")

    return reader


def test_auto_tries_the_next_and_keeps_what_each_said(monkeypatch):
    monkeypatch.setitem(decoders.READERS, "selective", fail("the first cannot"))
    decoded = read("h264_mp4", [3, 70])
    assert (decoded.decoder, decoded.status) == ("ffmpeg", "ok")
    assert decoded.attempts == ("selective: the first cannot",)
    assert barcodes("h264_mp4", decoded.frames) == [3, 70]


def test_when_all_fail_the_error_holds_all_words(monkeypatch):
    monkeypatch.setitem(decoders.READERS, "selective", fail("the first cannot"))
    monkeypatch.setitem(decoders.READERS, "ffmpeg", fail("nor the second"))
    with pytest.raises(VideoError, match=r"selective: the first cannot \| ffmpeg: nor the second"):
        read("h264_mp4", [3])


def test_salvage_keeps_the_longest_run_before_the_damage(monkeypatch):
    def up_to(last):
        def reader(reading):
            for index in reading.sink.picks[reading.sink.picks <= last]:
                reading.sink.put(int(index), np.full((64, 64, 3), index, np.uint8))
            raise VideoError(f"broken after {last}", path=reading.path, reason="damaged")

        return reader

    monkeypatch.setitem(decoders.READERS, "selective", up_to(50))
    monkeypatch.setitem(decoders.READERS, "ffmpeg", up_to(20))
    decoded = read("h264_mp4", [0, 25, 50, 75], damaged="salvage")
    assert (decoded.status, decoded.reason, decoded.decoder) == ("salvaged", "damaged", "selective")
    assert decoded.frame_index.tolist() == [0, 25, 50]
    assert decoded.frames[:, 0, 0, 0].tolist() == [0, 25, 50]
    assert decoded.fraction_kept == 0.75
    with pytest.raises(VideoError, match="broken after 50"):
        read("h264_mp4", [0, 25, 50, 75], damaged="strict")


def test_frames_go_where_they_are_told():
    made = []

    def allocate(shape):
        made.append(np.full(shape, 7, np.uint8))
        return made[-1]

    decoded = read_frames(
        np.array([1, 2]),
        probe=found("h264_mp4"),
        options=FrameOptions(size=32),
        allocate=allocate,
    )
    assert decoded.frames is made[0]
    assert decoded.frames.shape == (2, 32, 32, 3)


def test_progress_is_reported_by_every_decoder():
    for decoder in decoders.READERS:
        beats = []
        read_frames(
            np.array([100]),
            probe=found("h264_mp4"),
            options=FrameOptions(size=32, decoder=decoder),
            progress=lambda beats=beats: beats.append(1),
        )
        assert beats


def test_an_ffmpeg_is_always_there(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert ffmpeg_program().startswith("/")


def test_options_are_checked():
    with pytest.raises(ValueError, match="size"):
        FrameOptions(size=0)
