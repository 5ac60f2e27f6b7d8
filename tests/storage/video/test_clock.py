"""Times that are doubled, missing, jump or end late: which frames are chosen, and what is said."""

import av
import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.models.sampling.rules import Rule, Timeline, choose
from reelvec.storage.errors import VideoError
from reelvec.storage.video.clock import NO_PTS, bridged, frame_times
from reelvec.storage.video.decoder_table import kind_of
from reelvec.storage.video.decoders import read_frames
from reelvec.storage.video.probe import probe
from tests.support import media

SLOW = ("-vf", "settb=1/1000,setpts='if(lt(N,30),40*N,1200+(N-30)*1000)'")
SLOWER = (*SLOW, "-fps_mode", "passthrough", "-enc_time_base", "1:1000")
"""Thirty frames at 25 a second, then one a second."""
PLAIN = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0")
REORDERED = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "2")
BY_SECOND = [0, 25, *range(30, 39)]
"""On screen at 0 s, 1 s, …, 10 s of forty such frames; the last is over at 10.24 s."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clock")


@pytest.fixture(scope="module")
def slow(folder):
    """A variable-rate file of each kind."""
    frames = media.painted(40)
    return {
        suffix: media.encode(folder / f"slow{suffix}", (*SLOWER, *arguments), frames=frames)
        for suffix, arguments in ((".mkv", PLAIN), (".mp4", PLAIN), (".flv", REORDERED))
    }


def copied(source, path, change):
    """`path` with the packets of `source`; `change(number, packet)` may move their times."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size:
                change(number, packet)
                packet.stream = stream
                new.mux(packet)
    return path


def shown(path, *, start=None, end=None, rule=None):
    """(barcodes, seconds) of the frames chosen, by default one a second."""
    found = probe(path)
    timeline = Timeline(
        pts_seconds=found.pts_seconds, fps=float(found.fps), start_seconds=start, end_seconds=end,
        declared_end_seconds=found.end_seconds,
    )  # fmt: skip
    picks = choose(rule or Rule(), timeline=timeline)
    read = read_frames(picks, probe=found, options=FrameOptions(size=64))
    return [media.barcode(frame) for frame in read.frames], read.pts_seconds.round(2).tolist()


# Doubled and missing.


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_doubled_time_costs_no_other_its_own(slow, folder, suffix):
    before = []

    def doubled(number, packet):
        if suffix == ".mp4":  # its decode times may stand apart
            packet.dts -= round(2 / packet.time_base)
        if number in (5, 33):
            packet.pts = before[-1]
            packet.dts = packet.dts if suffix == ".mp4" else before[-1]
        before.append(packet.pts)

    path = copied(slow[suffix], folder / f"doubled{suffix}", doubled)
    found = probe(path)
    assert found.by_time
    assert found.in_order
    assert not kind_of(found).by_time, "no decoder was proven right on such a file"
    codes, times = shown(path)
    assert codes == [0, 25, 30, 31, *range(33, 39)]
    assert times == [0, 1, 1.2, 2.2, 3.2, 5.2, 6.2, 7.2, 8.2, 9.2]
    every = read_frames(np.arange(40), probe=found, options=FrameOptions(size=64))
    assert [media.barcode(frame) for frame in every.frames] == list(range(40))
    assert shown(path, start=5.5, end=8)[0] == [34, 35, 36]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
def test_the_last_frame_of_a_variable_rate_lasts_what_the_container_says(slow, suffix):
    """One average frame more, a quarter of a second, and a second was counted twice."""
    assert probe(slow[suffix]).end_seconds == pytest.approx(10.24, abs=0.002)
    assert shown(slow[suffix])[0] == BY_SECOND
    assert shown(slow[suffix], start=10, end=20)[0] == [38]


def test_a_last_picture_that_stays_lasts(folder):
    """An even rate, and then the end is held for two seconds: a GIF's way."""
    held = ("-c:v", "gif", "-final_delay", "200")
    path = media.encode(folder / "held.gif", held, frames=media.painted(50))
    assert probe(path).end_seconds == pytest.approx(1.96 + 2, abs=0.02)
    assert shown(path)[0] == [0, 25, 49]


def test_where_some_times_are_missing_they_lie_between_their_neighbours():
    told = {"jumped": False, "invented": False, "fps": 25.0, "time_base": 0.001}
    times = frame_times(np.array([5, 45, NO_PTS, 1045, 2045]), container="mpegts", **told)
    assert times.pts_seconds.tolist() == [0, 0.04, 0.54, 1.04, 2.04]
    assert not times.by_time
    most = np.array([7, NO_PTS, NO_PTS, NO_PTS, 3007])
    assert frame_times(most, container="mpegts", **told).pts_seconds.tolist() == [
        0, 0.04, 0.08, 0.12, 0.16,
    ]  # fmt: skip
    nearly = np.array([0, 40, NO_PTS, 121, 160, NO_PTS])  # an even rate: counted, as ever
    assert frame_times(nearly, container="mpegts", **told).pts_seconds.tolist() == [
        n / 25 for n in range(6)
    ]


def test_a_timeline_many_times_too_short_is_refused(slow, folder):
    def squeezed(number, packet):
        packet.pts = packet.dts = 5 * number
        packet.duration = 5

    path = copied(slow[".mkv"], folder / "squeezed.mkv", squeezed)
    data = path.read_bytes()
    declared = data.index(b"DURATION", data.index(b"DURATION") - 20)
    text = data.index(b"00:00:00.", declared)
    path.write_bytes(data[:text] + b"00:00:11." + data[text + 9 :])
    with pytest.raises(
        VideoError, match=r"span 0\.2\d s, but its header declares 11\.\d\d s"
    ) as raised:
        probe(path)
    assert raised.value.reason == "damaged"


# A clock that jumps.


@pytest.fixture(scope="module")
def halves(folder):
    """Two recordings of 2 s: frames 0 to 49 and 50 to 99, from clocks 0 s and `at` seconds."""

    def make(at, suffix=".ts", arguments=REORDERED):
        frames = media.painted(100)
        first = media.encode(folder / f"first{suffix}", arguments, frames=frames[:50])
        late = (*arguments, "-output_ts_offset", str(at))
        second = media.encode(folder / f"second{suffix}", late, frames=frames[50:])
        path = folder / f"joined{at}{suffix}"
        path.write_bytes(first.read_bytes() + second.read_bytes())
        return path

    return make


@pytest.mark.parametrize(
    ("at", "suffix"), [(0, ".ts"), (100, ".ts"), (95000, ".ts"), (-1, ".ts"), (0, ".mpg")]
)
def test_two_recordings_joined_are_one_after_the_other(halves, at, suffix):
    path = halves(at, suffix) if suffix == ".ts" else halves(at, suffix, ("-c:v", "mpeg2video"))
    found = probe(path)
    assert found.frames_counted == 100
    assert found.pts_seconds[-1] == pytest.approx(3.96, abs=0.05)
    assert np.diff(found.pts_seconds).min() > 0.02
    assert shown(path)[0] == [0, 25, 50, 75]
    assert shown(path, start=2.5, end=3.4, rule=Rule(rate=2))[0] == [62, 75]
    assert shown(path, rule=Rule(policy="all"))[0] == list(range(100))


def ticks(*seconds):
    return np.array([NO_PTS if at is None else round(at * 90000) for at in seconds], np.int64)


def bridge(dts, *, goes_on=(), container="mpegts", keyframe=None):
    count = len(dts)
    there = np.isin(np.arange(count), goes_on)
    keys = np.zeros(count, np.bool_) if keyframe is None else np.arange(count) == keyframe
    at = ticks(*dts)
    kept = bridged(
        at, at, keyframe=keys, goes_on=there, time_base=1 / 90000, container=container
    )  # fmt: skip
    return [round(float(tick) / 90000, 3) for tick in kept], kept is at


def test_what_is_a_jump():
    ahead = [0, 0.04, 0.08, 60, 60.04]
    assert bridge(ahead) == ([0, 0.04, 0.08, 0.12, 0.16], False)
    assert bridge(ahead, container="flv") == (ahead, True), "a pause of the recorder"
    assert bridge(ahead, goes_on=[3]) == (ahead, True), "sound fills it"
    slides = [0, 20, 40, 60, 80]
    assert bridge(slides) == (slides, True)
    dropped = [0, 0.04, 0.08, 5, 5.04]
    assert bridge(dropped) == (dropped, True), "a gap of some seconds is a gap"
    careless = [0, 0.04, 0.03, 0.08]
    assert bridge(careless) == (careless, True)
    back = [0, 0.1, 0.2, 0, 0.1]
    bridged_back = [0, 0.1, 0.2, 0.3, 0.4]
    assert bridge(back) == (bridged_back, False)
    assert bridge(back, container="flv", keyframe=3)[0] == bridged_back
    assert bridge(back, container="matroska", keyframe=0) == (back, True)
    assert bridge(back, container="mov", keyframe=3) == (back, True)


def test_missing_times_stay_missing_across_a_jump():
    pts, dts = ticks(0.08, None, 900, 900.04), ticks(0, 0.04, 899.92, 899.96)
    kept = bridged(
        pts, dts, keyframe=np.zeros(4, np.bool_), goes_on=np.zeros(4, np.bool_),
        time_base=1 / 90000, container="mpegts",
    )  # fmt: skip
    assert kept.tolist() == ticks(0.08, None, 0.16, 0.2).tolist()


def test_a_pause_of_the_picture_under_sound_is_no_jump(folder):
    frames = media.painted(4)
    late = ("-vf", "setpts='if(lt(N,2),N/25/TB,(20+N)/TB)'", "-fps_mode", "passthrough")
    path = folder / "pause.ts"
    sound = ("-f", "lavfi", "-i", "sine=duration=24", "-c:a", "aac")
    media.ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "160x120", "-r", "25",
        "-i", "pipe:", *sound[:4], *late, *PLAIN, *sound[4:], str(path), stdin=frames.tobytes(),
    )  # fmt: skip
    assert probe(path).pts_seconds == pytest.approx([0, 0.04, 22, 23], abs=0.01)
