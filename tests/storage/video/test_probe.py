"""What a file holds: counted against decoded, times against the encoder's, and what is refused."""

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from reelvec.storage.errors import VideoError
from reelvec.storage.video.content import hash_file
from reelvec.storage.video.probe import probe
from reelvec.storage.video.structure import Completeness, completeness
from tests.support import media

CLIPS = Path(__file__).parents[4] / "shared/data/clips"
CODEC_OF = {"av1": "av1", "h264": "h264", "hevc": "hevc", "mpeg2": "mpeg2video", "wmv2": "wmv2"}
CONTAINER_OF = {
    ".mp4": "mov", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi", ".ts": "mpegts",
    ".mpg": "mpeg", ".wmv": "asf", ".flv": "flv",
}  # fmt: skip


def refused(path, **options):
    with pytest.raises(VideoError) as raised:
        probe(path, **options)
    assert raised.value.path == str(path)
    assert str(path) in str(raised.value)
    return raised.value.reason


@pytest.mark.parametrize("name", sorted(media.KINDS))
def test_counts_are_those_of_a_full_decode(name):
    path = media.video(name)
    found = probe(path)
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    assert found.frames_counted == decoded == len(media.kept(name))
    assert found.truncated == ""
    assert (found.skipped_at_start, found.fraction_present) == (0, 1.0)
    assert found.container == CONTAINER_OF[path.suffix]
    assert found.packets.shown.sum() == found.frames_counted
    turned = name == "rotated_mp4"
    assert (found.width, found.height) == ((120, 160) if turned else (160, 120))
    assert found.rotation == (90 if turned else 0)


@pytest.mark.parametrize("name", sorted(set(media.KINDS) - {"vfr_mp4", "vfr_mkv"}))
def test_times_are_exact_from_the_first_frame(name):
    found = probe(media.video(name))
    wanted = np.arange(found.frames_counted) / 25
    assert np.abs(found.pts_seconds - wanted).max() <= 0.0011  # Matroska's and FLV's millisecond
    assert found.pts_seconds[0] == 0
    assert found.fps == 25


@pytest.mark.parametrize("name", ["vfr_mp4", "vfr_mkv"])
def test_a_variable_frame_rate_keeps_its_true_times(name):
    """Sixty frames at 25 fps, then one every 0.12 s."""
    found = probe(media.video(name))
    n = np.arange(150)
    assert np.abs(found.pts_seconds - np.where(n < 60, n, 60 + (n - 60) * 3) / 25).max() <= 0.001
    assert found.by_time


def test_29_97_stays_rational(tmp_path):
    path = media.encode(tmp_path / "ntsc.mp4", media.KINDS["h264_mp4"].arguments, fps="30000/1001")
    found = probe(path)
    assert found.fps == Fraction(30000, 1001)
    assert found.pts_seconds[30] == pytest.approx(30 * 1001 / 30000, abs=1e-9)


def test_frames_are_told_by_time_where_that_is_safe():
    untimed = {name for name in media.KINDS if not probe(media.video(name)).by_time}
    assert untimed == {"h264_avi_b", "mpeg4_b_avi", "mpeg2_ps"}


@pytest.mark.parametrize(("count", "side"), [(1, 120), (7, 118), (5, 90)])
def test_one_frame_and_odd_sizes(tmp_path, count, side):
    frames = media.painted(count, width=162, height=side)
    path = media.encode(
        tmp_path / "small.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p"), frames=frames
    )
    found = probe(path)
    assert (found.frames_counted, found.width, found.height) == (count, 162, side)


def test_sound_is_no_picture(tmp_path):
    whole = media.encode(tmp_path / "with.mp4", media.KINDS["h264_mp4"].arguments, audio=True)
    assert probe(whole).frames_counted == 150
    media.ffmpeg("-i", str(whole), "-vn", "-c:a", "copy", str(tmp_path / "only.mp4"))
    assert refused(tmp_path / "only.mp4") == "no_video_stream"


def test_a_cover_picture_is_no_video(tmp_path):
    sound, cover = tmp_path / "sound.m4a", tmp_path / "cover.jpg"
    media.ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(sound))
    media.ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=0.04", "-frames:v", "1", str(cover))
    media.ffmpeg(
        "-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "attached_pic", str(tmp_path / "album.mp4"),
    )  # fmt: skip
    assert refused(tmp_path / "album.mp4") == "no_video_stream"


# What is no video file at all.


def test_missing_empty_and_forbidden(tmp_path, monkeypatch):
    assert refused(tmp_path / "nowhere.mp4") == "missing"
    assert refused(tmp_path / ("x" * 300)) == "missing"
    assert refused("nul\0byte.mp4") == "missing"
    (tmp_path / "empty.mp4").touch()
    assert refused(tmp_path / "empty.mp4") == "empty"
    assert refused(tmp_path) == "unreadable"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refused(tmp_path / "pipe.mp4") == "unreadable"
    shutil.copy(media.video("h264_mp4"), tmp_path / "closed.mp4")

    def deny(self, *arguments, original=Path.open, **named):
        if self.name == "closed.mp4":
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", deny)  # root may read anything
    assert refused(tmp_path / "closed.mp4") == "permission"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "avif"])
def test_pictures_in_a_videos_clothes(tmp_path, suffix):
    from PIL import Image

    Image.fromarray(media.painted(1)[0]).save(tmp_path / f"x.{suffix}")
    shutil.move(tmp_path / f"x.{suffix}", tmp_path / "x.mp4")
    assert refused(tmp_path / "x.mp4") == "unreadable"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{}</BaseURL></Period></MPD>',
        "just some words",
        "\0" * 5000,
    ],
    ids=["playlist", "concat", "sdp", "dash", "text", "zeros"],
)
def test_nothing_that_points_elsewhere_is_followed(tmp_path, text, monkeypatch):
    target = media.video("h264_open_ts")
    path = tmp_path / "list.mp4"
    path.write_text(text.format(target))
    accessed = os.stat(target).st_atime_ns
    assert refused(path) == "unreadable"
    assert os.stat(target).st_atime_ns == accessed


def test_a_network_address_is_only_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused("http://127.0.0.1:9/x.mp4") == "missing"
    assert refused("concat:a.ts|b.ts") == "missing"


def test_names_ffmpeg_would_read_meaning_into(tmp_path):
    for name in ("50%.mp4", "frame%03d.mp4", "a:b.mp4", "-i.mp4", "file:x.mp4", "ü 漢.mp4"):
        shutil.copy(media.video("h264_mp4"), tmp_path / name)
        assert probe(tmp_path / name).frames_counted == 150


def test_declared_pixels_are_limited_before_anything_is_decoded(tmp_path):
    """Each picture and the AVI header say 16384 x 16384."""
    data = bytearray(media.video("mjpeg_avi").read_bytes())
    at = data.find(b"\xff\xc0\x00\x11\x08")
    while at >= 0:
        data[at + 5 : at + 9] = (16384).to_bytes(2, "big") * 2
        at = data.find(b"\xff\xc0\x00\x11\x08", at + 5)
    header = data.find(b"strf") + 12
    data[header : header + 8] = (16384).to_bytes(4, "little") * 2
    (tmp_path / "huge.avi").write_bytes(data)
    assert refused(tmp_path / "huge.avi") == "too_large"
    assert refused(media.video("h264_mp4"), max_pixels=160 * 120 - 1) == "too_large"
    assert probe(media.video("h264_mp4"), max_pixels=160 * 120).frames_counted == 150


# Is it whole?


@pytest.mark.parametrize(
    "name", ["h264_mp4", "h264_mkv", "mpeg4_avi", "vp9_webm", "wmv2_asf", "h264_fragmented_mp4"]
)
def test_structure_tells_a_cut_from_a_whole_file(tmp_path, name):
    data = media.video(name).read_bytes()
    assert completeness(media.video(name)) is Completeness.COMPLETE
    path = tmp_path / "cut"
    for length in (len(data) - 1, len(data) * 2 // 3, 2000):
        path.write_bytes(data[:length])
        assert completeness(path) is Completeness.CUT, length


def test_structure_of_nonsense_is_unknown(tmp_path):
    path = tmp_path / "x"
    rng = np.random.default_rng(0)
    for head in (
        b"",
        b"RIFF",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\0ftyp",
        b"\x1a\x45\xdf\xa3\xff" * 9,
        b"G" * 999,
    ):
        path.write_bytes(head)
        assert completeness(path) in Completeness
    for _ in range(200):
        path.write_bytes(
            rng.choice([b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\0\x18ftyp"]) + rng.bytes(300)
        )
        assert completeness(path) in Completeness


@pytest.mark.parametrize("name", ["h264_mkv", "h264_avi_no_b", "h264_faststart_mp4", "h264_flv"])
def test_how_much_is_there(tmp_path, name):
    data = media.video(name).read_bytes()
    path = tmp_path / f"cut{media.video(name).suffix}"
    path.write_bytes(data[: len(data) * 6 // 10])
    found = probe(path)
    assert "of 6.0" in found.truncated
    assert 0.3 < found.fraction_present < 0.8


def test_a_boastful_header_is_no_cut(tmp_path):
    """Three times the frames declared, all bytes there: the header is wrong, the file is whole."""
    data = bytearray(media.video("mpeg4_avi").read_bytes())
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.find(tag) + offset
        assert int.from_bytes(data[at : at + 4], "little") == 150
        data[at : at + 4] = (450).to_bytes(4, "little")
    path = tmp_path / "boast.avi"
    path.write_bytes(data)
    found = probe(path)
    assert (found.frames_from_header, found.frames_counted, found.truncated) == (450, 150, "")
    assert found.duration_seconds_from_header == 18


@pytest.mark.parametrize("name", ["h264_mkv", "mpeg4_avi", "vp9_webm", "hevc_open_mp4"])
def test_what_precedes_the_first_keyframe_is_not_shown(tmp_path, name):
    found = probe(media.without_first_packets(name, 12, tmp_path))
    first = 30
    assert found.frames_counted == 150 - first
    assert found.skipped_at_start == first - 12
    assert found.pts_seconds[0] == 0


def test_progress_is_reported_and_hashes_are_of_the_bytes(tmp_path):
    beats = []
    probe(media.video("h264_mp4"), progress=lambda: beats.append(1))
    assert len(beats) == 3
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert hash_file(tmp_path / "x", progress=lambda: beats.append(1)) == hash_file(tmp_path / "x")
    assert len(beats) == 6
    import xxhash

    assert hash_file(tmp_path / "x") == xxhash.xxh3_128_hexdigest(b"abc" * 10**6)


@pytest.mark.skipif(not CLIPS.exists(), reason="../shared/data/clips absent")
def test_real_clips():
    clips = sorted([*CLIPS.glob("*.mp4"), *CLIPS.glob("*.mkv")])
    assert len(clips) == 23
    for path in clips:
        found = probe(path)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            shown = sorted(p.pts for p in container.demux(stream) if p.size and not p.is_discard)
        assert found.frames_counted == len(shown)
        assert found.truncated == ""
        assert found.by_time
