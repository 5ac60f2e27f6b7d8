"""Kinds of the corpus by container and codec, whole and with true headers."""

from tests.frame_truth.making import FPS, NO_B, OPEN, encoded, x264, x265

MPEG4 = ("-c:v", "mpeg4", "-q:v", "4", "-g", "30")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "4", "-g", "15", "-bf", "2")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "30")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "30")
AV1 = ("-c:v", "libsvtav1", "-preset", "8", "-crf", "10", "-g", "30", "-svtav1-params", "lp=1")
TWO_PASSES = ("-auto-alt-ref", "1", "-lag-in-frames", "12", "-deadline", "good", "-cpu-used", "5")
FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"
INTRA_REFRESH = "keyint=40:intra-refresh=1:bframes=0"

KINDS = {
    "h264 mp4": encoded(".mp4", *x264()),
    "h264 mp4, one group": encoded(".mp4", *x264(params="keyint=infinite")),
    "h264 mp4, B-pyramid": encoded(
        ".mp4", *x264(params="keyint=50:bframes=8:b-pyramid=normal:b-adapt=2")
    ),
    "h264 mp4, baseline": encoded(".mp4", *x264("-profile:v", "baseline")),
    "h264 mp4, index first": encoded(".mp4", *x264("-movflags", "+faststart")),
    "h264 mp4, fragments": encoded(".mp4", *x264("-movflags", FRAGMENTS)),
    "h264 mp4, a fragment a frame": encoded(
        ".mp4", *x264("-movflags", "frag_every_frame+empty_moov")
    ),
    "h264 mp4, CMAF": encoded(".mp4", *x264("-movflags", "cmaf+frag_keyframe+empty_moov")),
    "h264 mp4, hybrid fragments": encoded(
        ".mp4", *x264("-movflags", "hybrid_fragmented", "-frag_duration", "1000000")
    ),
    "h264 mov": encoded(".mov", *x264()),
    "h264 m4v": encoded(".m4v", *x264("-f", "mp4")),
    "h264 3gp": encoded(".3gp", *x264()),
    "h264 mkv": encoded(".mkv", *x264()),
    "h264 ts": encoded(".ts", *x264()),
    "h264 m2ts": encoded(".m2ts", *x264("-f", "mpegts", "-mpegts_m2ts_mode", "1")),
    "h264 flv": encoded(".flv", *x264()),
    "h264 flv, short groups": encoded(".flv", *x264(params="keyint=7:min-keyint=7:scenecut=0")),
    "h264 avi, no B": encoded(".avi", *x264(params=NO_B)),
    "h264 avi, B-frames without times": encoded(".avi", *x264()),
    "h264 mxf": encoded(".mxf", *x264(params=NO_B)),
    "h264 mp4, open groups": encoded(".mp4", *x264(params=OPEN)),
    "h264 mkv, open groups": encoded(".mkv", *x264(params=OPEN)),
    "h264 ts, open groups": encoded(".ts", *x264(params=OPEN)),
    "h264 mp4, intra refresh": encoded(".mp4", *x264(params=INTRA_REFRESH)),
    "h264 mkv, intra refresh": encoded(".mkv", *x264(params=INTRA_REFRESH)),
    "hevc mp4": encoded(".mp4", *x265()),
    "hevc mp4, open groups": encoded(
        ".mp4", *x265(params="keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=4")
    ),
    "hevc mkv": encoded(".mkv", *x265()),
    "hevc mov, hvc1": encoded(".mov", *x265("-tag:v", "hvc1")),
    "hevc ts": encoded(".ts", *x265()),
    "vvc mp4": encoded(
        ".mp4", "-c:v", "libvvenc", "-preset", "faster", "-threads", "1", "-pix_fmt", "yuv420p",
        "-qp", "32", count=75,
    ),
    "vp8 webm": encoded(".webm", *VP8),
    "vp8 webm, hidden frames": encoded(".webm", *VP8, *TWO_PASSES),
    "vp9 webm": encoded(".webm", *VP9),
    "vp9 webm, hidden frames": encoded(".webm", *VP9, *TWO_PASSES),
    "vp9 mp4": encoded(".mp4", *VP9),
    "av1 mp4": encoded(".mp4", *AV1),
    "av1 mkv": encoded(".mkv", *AV1),
    "av1 webm": encoded(".webm", *AV1),
    "mpeg4 avi": encoded(".avi", *MPEG4),
    "mpeg4 avi, B-frames without times": encoded(".avi", *MPEG4, "-bf", "2"),
    "mpeg4 mp4, B-frames": encoded(".mp4", *MPEG4, "-bf", "2"),
    "mpeg4 mkv, B-frames": encoded(".mkv", *MPEG4, "-bf", "2"),
    "xvid avi, packed B-frames": encoded(
        ".avi", "-c:v", "libxvid", "-q:v", "4", "-g", "30", "-bf", "2", "-tag:v", "DIVX",
        rate=FPS,
    ),
    "mpeg4 divx": encoded(".divx", *MPEG4, "-f", "avi", "-tag:v", "DX50"),
    "msmpeg4v3 avi": encoded(".avi", "-c:v", "msmpeg4", "-q:v", "4", "-g", "30"),
    "mpeg4 3gp": encoded(".3gp", *MPEG4),
    "h263 3gp": encoded(".3gp", "-c:v", "h263", "-q:v", "4", "-g", "30", size=(176, 144)),
    "mpeg1 mpg": encoded(".mpg", "-c:v", "mpeg1video", "-q:v", "4", "-g", "15", "-bf", "2"),
    "mpeg2 mpg": encoded(".mpg", *MPEG2),
    "mpeg2 vob": encoded(".vob", *MPEG2),
    "mpeg2 ts": encoded(".ts", *MPEG2),
    "mpeg2 mts": encoded(".mts", *MPEG2, "-f", "mpegts"),
    "mpeg2 m2v, no container": encoded(".m2v", *MPEG2),
    "mpeg1 mpeg, no container": encoded(
        ".mpeg", "-c:v", "mpeg1video", "-q:v", "4", "-g", "15", "-bf", "2", "-f", "mpeg1video"
    ),
    "mpeg2 mxf": encoded(".mxf", *MPEG2),
    "mpeg2 mkv": encoded(".mkv", *MPEG2),
    "wmv2 wmv": encoded(".wmv", "-c:v", "wmv2", "-b:v", "600k", "-g", "30"),
    "wmv2 wmv, short groups": encoded(".wmv", "-c:v", "wmv2", "-b:v", "600k", "-g", "12"),
    "wmv1 asf": encoded(".asf", "-c:v", "wmv1", "-b:v", "600k", "-g", "30"),
    "flv1 flv": encoded(".flv", "-c:v", "flv1", "-q:v", "4", "-g", "30"),
    "flashsv flv": encoded(".flv", "-c:v", "flashsv", "-g", "30"),
    "theora ogv": encoded(".ogv", "-c:v", "libtheora", "-q:v", "7", "-g", "30"),
    "theora ogm": encoded(".ogm", "-c:v", "libtheora", "-q:v", "7", "-g", "30", "-f", "ogg"),
    "rv20 rm": encoded(".rm", "-c:v", "rv20", "-q:v", "4", "-g", "30", size=(176, 144)),
    "rv10 rmvb": encoded(".rmvb", "-c:v", "rv10", "-q:v", "4", "-g", "30", "-f", "rm",
                         size=(176, 144)),
    "mjpeg avi": encoded(".avi", "-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"),
    "mjpeg mov": encoded(".mov", "-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj422p"),
    "gif": encoded(".gif", count=100),
    "y4m": encoded(".y4m", "-pix_fmt", "yuv420p", count=100),
    "raw avi": encoded(".avi", "-c:v", "rawvideo", "-pix_fmt", "yuv420p", count=100),
    "huffyuv avi": encoded(".avi", "-c:v", "huffyuv", count=100),
    "ffv1 mkv": encoded(".mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", count=100),
    "prores mov": encoded(".mov", "-c:v", "prores_ks", "-profile:v", "0", count=100),
    "dnxhr mov": encoded(
        ".mov", "-c:v", "dnxhd", "-profile:v", "dnxhr_lb", "-pix_fmt", "yuv422p", count=50,
        size=(256, 144),
    ),
    "cineform mov": encoded(".mov", "-c:v", "cfhd", count=100),
    "cinepak avi": encoded(".avi", "-c:v", "cinepak", count=26),
    "svq1 mov": encoded(".mov", "-c:v", "svq1", count=50),
    "dv avi": encoded(".avi", "-c:v", "dvvideo", "-pix_fmt", "yuv420p", size=(720, 576), count=50),
    "png mov": encoded(".mov", "-c:v", "png", count=50),
}  # fmt: skip
