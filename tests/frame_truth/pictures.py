"""Kinds of the corpus by what a picture is: orientations, sizes, colours, fields, and streams."""

import tempfile
from pathlib import Path

from tests.frame_truth.containers import AV1, MPEG2, VP8, VP9
from tests.frame_truth.making import (
    NO_B,
    Kind,
    encode,
    encoded,
    ffmpeg,
    joined,
    remuxed,
    x264,
    x265,
)

ORIENTED = {
    "turned by 90": ("-display_rotation", "90"),
    "turned by 180": ("-display_rotation", "180"),
    "turned by 270": ("-display_rotation", "270"),
    "mirrored left to right": ("-display_hflip",),
    "mirrored top to bottom": ("-display_vflip",),
    "mirrored, turned by 270": ("-display_rotation", "90", "-display_hflip"),
    "mirrored, turned by 90": ("-display_rotation", "270", "-display_hflip"),
    "not turned": ("-display_rotation", "0"),
}

PQ = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
HLG = ("-color_primaries", "bt2020", "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc")
TEN = ("-pix_fmt", "yuv420p10le")
ALPHA = "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,30),0,255)'"
PLAIN_ALPHA = ("-auto-alt-ref", "0", "-pix_fmt", "yuva420p")
WOVEN = ("-flags", "+ildct+ilme", "-field_order", "tt")


def _oriented(suffix, options, *arguments):
    return remuxed(suffix, options, (), *(arguments or x264()))


def _mux(suffix, inputs, *after, stream=""):
    """Several inputs into one file: (tag, encoder arguments, size, frames), then output options."""

    def make(path):
        with tempfile.TemporaryDirectory() as folder:
            given = []
            for place, (tag, arguments, size, count) in enumerate(inputs):
                source = Path(folder) / f"{place}.mkv"
                encode(source, *arguments, tag=tag, size=size, count=count)
                given += ["-i", source]
            ffmpeg(*given, *after, path)

    return Kind(suffix, make, stream=stream)


VIDEO = (0, x264(), (192, 144), 150)
OTHER = (1, x264(), (192, 144), 150)
LARGER = (2, x264(), (320, 240), 150)
PICTURE = (3, ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"), (400, 400), 1)
COVER = ("-c", "copy", "-disposition:v:1", "attached_pic")


def _attached(path):
    """A video with a picture among its attachments, as mkvmerge writes covers."""
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder) / "video.mkv", Path(folder) / "cover.jpg"
        encode(source, *x264())
        encode(picture, "-q:v", "4", size=(400, 400), count=1, tag=3)
        ffmpeg(
            "-i", source, "-attach", picture, "-metadata:s:t", "mimetype=image/jpeg",
            "-metadata:s:t", "filename=cover.jpg", "-c", "copy", path,
        )  # fmt: skip


def _with_sound(suffix, seconds, *more, before=(), video=None):
    """A video of ten seconds and a tone of `seconds`."""

    def make(path):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"video{'.avi' if suffix == '.avi' else '.mkv'}"
            encode(source, *(video or x264()))
            tone = ("-f", "lavfi", "-i", f"sine=duration={seconds}")
            ffmpeg(
                *before, "-i", source, *tone, "-map", "0:v", "-map", "1:a", "-c:v", "copy",
                *more, path,
            )  # fmt: skip

    return Kind(suffix, make)


KINDS = {
    # orientations
    **{f"h264 mp4, {name}": _oriented(".mp4", how) for name, how in ORIENTED.items()},
    "h264 mov, turned by 90": _oriented(".mov", ("-display_rotation", "90")),
    "h264 mov, mirrored left to right": _oriented(".mov", ("-display_hflip",)),
    "h264 mkv, turned by 270": _oriented(".mkv", ("-display_rotation", "270")),
    "hevc mp4, turned by 90": _oriented(".mp4", ("-display_rotation", "90"), *x265()),
    "mpeg4 3gp, turned by 90": _oriented(
        ".3gp", ("-display_rotation", "90"), "-c:v", "mpeg4", "-q:v", "4"
    ),
    "h264 mp4, turned by 90 in its stream": encoded(
        ".mp4", *x264("-bsf:v", "h264_metadata=rotate=90")
    ),
    "h264 mkv, mirrored in its stream": encoded(
        ".mkv", *x264("-bsf:v", "h264_metadata=flip=horizontal")
    ),
    "h264 ts, turned by 180 in its stream": encoded(
        ".ts", *x264("-bsf:v", "h264_metadata=rotate=180")
    ),
    "h264 mp4, turned by 90, edit list": remuxed(
        ".mp4", ("-display_rotation", "90", "-ss", "1.6"), (), *x264()
    ),
    "av1 mp4, turned by 270": _oriented(".mp4", ("-display_rotation", "270"), *AV1),
    # sizes
    "odd size mp4": encoded(
        ".mp4", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv444p", "-g", "30",
        size=(193, 145),
    ),
    "odd size webm": encoded(".webm", *VP9, size=(193, 145)),
    "odd size avi": encoded(".avi", "-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p",
                            size=(193, 145)),
    "odd size, turned by 90": remuxed(
        ".mp4", ("-display_rotation", "90"), (), "-c:v", "libx264", "-pix_fmt", "yuv444p",
        size=(193, 145),
    ),
    "portrait mp4": encoded(".mp4", *x264(), size=(144, 256)),
    "very wide mp4": encoded(".mp4", *x264(), size=(640, 80)),
    "1080p mp4": encoded(".mp4", *x264(), size=(1920, 1080), count=26),
    "pixels not square mp4": encoded(".mp4", *x264("-vf", "setsar=16/11"), size=(176, 144)),
    "cropped in its stream mp4": encoded(
        ".mp4", *x264("-bsf:v", "h264_metadata=crop_left=20:crop_right=28"), size=(240, 144)
    ),
    "size changes ts": joined(
        ".ts",
        encoded(".ts", *x264(params=NO_B), count=100),
        encoded(
            ".ts", *x264("-output_ts_offset", "4", params=NO_B), count=100, size=(320, 240), tag=1
        ),
        resized=True,
    ),
    # fields
    "interlaced h264 mp4": encoded(".mp4", *x264(*WOVEN)),
    "interlaced h264 ts": encoded(".ts", *x264(*WOVEN, params=NO_B)),
    "interlaced mpeg2 mpg": encoded(".mpg", *MPEG2, *WOVEN),
    "interlaced mpeg2 ts, bottom first": encoded(
        ".ts", *MPEG2, "-flags", "+ildct+ilme", "-field_order", "bb"
    ),
    # colours
    "10 bit h264 mp4": encoded(".mp4", *x264(*TEN)),
    "10 bit hevc mkv": encoded(".mkv", *x265(*TEN)),
    "10 bit vp9 webm": encoded(".webm", *VP9, "-profile:v", "2", *TEN),
    "10 bit av1 mp4": encoded(".mp4", *AV1, *TEN),
    "12 bit hevc mp4": encoded(".mp4", *x265("-pix_fmt", "yuv422p12le")),
    "4:2:2 h264 mp4": encoded(".mp4", *x264("-pix_fmt", "yuv422p")),
    "4:4:4 h264 mp4": encoded(".mp4", *x264("-pix_fmt", "yuv444p")),
    "lossless rgb h264 mkv": encoded(
        ".mkv", "-c:v", "libx264rgb", "-preset", "veryfast", "-qp", "0", "-g", "30", count=100
    ),
    "grey h264 mp4": encoded(".mp4", *x264("-pix_fmt", "gray")),
    "full range h264 mp4": encoded(".mp4", *x264("-pix_fmt", "yuvj420p")),
    "BT.709 h264 mp4": encoded(
        ".mp4", *x264("-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709",
                      "-color_primaries", "bt709", "-color_trc", "bt709"), size=(320, 240),
    ),
    "HDR10 hevc mp4": encoded(".mp4", *x265(*TEN, *PQ)),
    "HLG hevc mkv": encoded(".mkv", *x265(*TEN, *HLG)),
    "alpha vp8 webm": encoded(".webm", "-vf", ALPHA, *VP8, *PLAIN_ALPHA, count=100),
    "alpha vp9 webm": encoded(".webm", "-vf", ALPHA, *VP9, "-pix_fmt", "yuva420p", count=100),
    "alpha prores mov": encoded(
        ".mov", "-vf", ALPHA, "-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt",
        "yuva444p10le", count=50,
    ),
    "alpha qtrle mov": encoded(".mov", "-vf", ALPHA, "-c:v", "qtrle", count=50),
    "palette mov": encoded(".mov", "-c:v", "png", "-pix_fmt", "pal8", count=50),
    # streams
    "cover picture after the video mp4": _mux(
        ".mp4", [VIDEO, PICTURE], "-map", "0", "-map", "1", *COVER
    ),
    "cover picture first mp4": _mux(
        ".mp4", [VIDEO, PICTURE], "-map", "1", "-map", "0", "-c", "copy", "-disposition:v:0",
        "attached_pic",
    ),
    "cover picture mkv": Kind(".mkv", _attached),
    "two streams mp4": _mux(".mp4", [VIDEO, OTHER], "-map", "0", "-map", "1", "-c", "copy"),
    "two streams mkv, the second larger": _mux(
        ".mkv", [VIDEO, LARGER], "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "0",
        stream="0:v:0",
    ),
    "two streams mkv, the second is the default": _mux(
        ".mkv", [LARGER, VIDEO], "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "0", "-disposition:v:1", "default", stream="0:v:1",
    ),
    "two programmes ts": _mux(
        ".ts", [VIDEO, OTHER], "-map", "0", "-map", "1", "-c", "copy",
        "-program", "title=a:st=0", "-program", "title=b:st=1",
    ),
    "sound mp4": _with_sound(".mp4", 6),
    "sound longer than the pictures mp4": _with_sound(".mp4", 9),
    "sound shorter than the pictures mkv": _with_sound(".mkv", 3),
    "sound first, pictures two seconds later mp4": _with_sound(
        ".mp4", 8, before=("-itsoffset", "2")
    ),
    "sound first, pictures two seconds later ts": _with_sound(
        ".ts", 8, before=("-itsoffset", "2")
    ),
    "sound avi": _with_sound(".avi", 6, video=("-c:v", "mpeg4", "-q:v", "4", "-g", "30")),
    "sound and time code mov": _with_sound(".mov", 6, "-timecode", "01:00:00:00"),
}  # fmt: skip
