"""What lies under a video's name and is none is named, not called unreadable alone."""

import gzip
import shutil
import zipfile

import pytest

from reelvec.storage.errors import VideoError
from reelvec.storage.lookalikes import lookalike
from reelvec.storage.video.probe import probe
from tests.support import media

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
HELD = [
    (b"<!DOCTYPE html><html><head><title>404</title>", "an HTML page"),
    (b"\xef\xbb\xbf\n  <HTML lang='en'>", "an HTML page"),
    (b"<!-- saved -->\n<html>", "an HTML page"),
    ("<!doctype html>".encode("utf-16"), "an HTML page"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML text.*AccessDenied"),
    (LFS, "a Git LFS pointer.*git lfs pull"),
    (b'{"error": {"code": 429, "message": "quota"}}', "a JSON text.*quota"),
    (b'[{"error": 1}]', "a JSON text"),
    (b"#EXTM3U\nhttp://x/1.ts\n", "a playlist"),
    (b"Too many requests\n", "a text.*Too many requests"),
    ("é".encode() * 3000, "a text"),
    (gzip.compress(b"x" * 100, mtime=0), "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd" + bytes(range(60)), "zstd-compressed"),
    (b"%PDF-1.7\n", "a PDF"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", "a still picture"),
    (bytes(70_000), "zeros, as a download has"),
]


@pytest.mark.parametrize(("content", "words"), HELD)
def test_what_it_is_instead_is_said(tmp_path, content, words):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=f"holds no video but {words}") as raised:
        probe(path)
    assert raised.value.reason == "unreadable"


def test_an_archive_of_a_video(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.mp4", "w") as archive:
        archive.write(media.video("h264_mp4"), "inner.mp4")
    with pytest.raises(VideoError, match="a ZIP archive; unpack it"):
        probe(tmp_path / "x.mp4")


@pytest.mark.parametrize("noise", [b"\0\1\2\3" * 50, b"\xff\xfe\0\xd8" * 9, b"caf\xe9 \x01\x02"])
def test_nothing_is_made_up(tmp_path, noise):
    (tmp_path / "x.mp4").write_bytes(noise)
    assert lookalike(tmp_path / "x.mp4") is None


@pytest.mark.parametrize("filled", [False, True], ids=["short", "zeros to its end"])
def test_a_half_download_is_one(tmp_path, filled):
    """Its index would come last."""
    whole = media.video("h264_mp4").read_bytes()
    half = whole[: len(whole) // 2]
    (tmp_path / "x.mp4").write_bytes(half + bytes(len(whole) - len(half)) if filled else half)
    with pytest.raises(VideoError, match="a download that was not finished") as raised:
        probe(tmp_path / "x.mp4")
    assert raised.value.reason == "truncated"


def test_sound_with_a_cover_picture(tmp_path):
    media.ffmpeg(
        "-f", "lavfi", "-i", "sine=duration=0.5", "-f", "lavfi", "-i", "color=s=64x64:d=0.04",
        "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "mjpeg", "-frames:v", "1",
        "-disposition:v", "attached_pic", str(tmp_path / "x.mp4"),
    )  # fmt: skip
    shutil.copy(tmp_path / "x.mp4", tmp_path / "song.m4v")
    with pytest.raises(VideoError, match="its only video stream is a cover picture") as raised:
        probe(tmp_path / "song.m4v")
    assert raised.value.reason == "no_video_stream"
