"""Kinds of the corpus by when their frames are shown: rates, edits, jumps, starts, live ones."""

from tests.frame_truth.containers import FRAGMENTS, MPEG2, MPEG4, VP9
from tests.frame_truth.making import (
    NO_B,
    changed,
    encoded,
    joined,
    piped,
    remuxed,
    with_edits,
    x264,
)


def at(expression):
    """Arguments that show frame N at `expression` milliseconds."""
    return (
        "-vf", f"settb=1/1000,setpts='{expression}'",
        "-fps_mode", "passthrough", "-enc_time_base", "1:1000",
    )  # fmt: skip


def stamped(expression, **keywords):
    """Arguments of a copy whose packets' times are `expression` of their own."""
    given = ":".join(f"{name}='{value}'" for name, value in keywords.items())
    return ("-bsf:v", f"setts=pts='{expression}'" + (f":{given}" if given else ""))


SLOWING = at("40*if(lt(N,75),N,75+(N-75)*3)")
FROZEN = at("if(lt(N,70),40*N,7000+40*N)")
UNEVEN = at("40*N+17*mod(N*N,2)+floor(N/50)*900")
TEN_LATER = ("-output_ts_offset", "100")


def part(tag, *more, suffix=".ts", video=None, count=100):
    """One recording of several that are joined."""
    return encoded(suffix, *(video or x264()), *more, tag=tag, count=count)


DOUBLED = "if(eq(mod(round(PTS*TB*25),40),22),PTS-round(0.04/TB),PTS)"
"""Frames 22, 62, … have the time of the frame before."""
FILM, NTSC = "24000/1001", "30000/1001"

KINDS = {
    # rates
    "variable rate mp4": encoded(".mp4", *SLOWING, *x264()),
    "variable rate mkv": encoded(".mkv", *SLOWING, *x264()),
    "variable rate webm": encoded(".webm", *SLOWING, *VP9),
    "variable rate mov, uneven": encoded(".mov", *UNEVEN, *x264()),
    "variable rate flv": encoded(".flv", *UNEVEN, *x264()),
    "variable rate ts": encoded(".ts", *UNEVEN, *x264()),
    "variable rate wmv": encoded(".wmv", *UNEVEN, "-c:v", "wmv2", "-b:v", "1M", "-g", "30"),
    "variable rate gif": encoded(".gif", *at("100*N+if(gt(N,20),900)"), count=60),
    "frozen for seven seconds mp4": encoded(".mp4", *FROZEN, *x264()),
    "frozen for seven seconds mkv": encoded(".mkv", *FROZEN, *x264(params=NO_B)),
    "23.976 a second mkv": encoded(".mkv", *x264(), fps=FILM),
    "29.97 a second mp4": encoded(".mp4", *x264(), fps=NTSC),
    "59.94 a second mkv": encoded(".mkv", *x264(), fps="60000/1001"),
    "120 a second mp4": encoded(".mp4", *x264(), fps=120),
    "one a second mp4": encoded(".mp4", *x264(), fps=1, count=20),
    "one in three seconds mkv": encoded(".mkv", *x264(), fps="1/3", count=8),
    "a single frame mp4": encoded(".mp4", *x264(), count=1),
    "two frames mkv": encoded(".mkv", *x264(), count=2),
    "a last frame of five seconds mp4": remuxed(
        ".mp4", (), ("-bsf:v", "setts=pts=PTS:dts=DTS:duration='if(eq(N,99),5/TB,DURATION)'"),
        *x264(params=NO_B), count=100,
    ),
    # doubled and jumping times
    "doubled time mkv": remuxed(
        ".mkv", (), stamped("if(eq(N,40),PREV_OUTPTS,PTS)", dts="if(eq(N,40),PREV_OUTDTS,DTS)"),
        *SLOWING, *x264(params=NO_B),
    ),
    "doubled times of B-frames mp4": remuxed(
        ".mp4", (), stamped(DOUBLED), *SLOWING, *x264()
    ),
    "doubled times of B-frames mkv": remuxed(
        ".mkv", (), stamped(DOUBLED), *SLOWING, *x264()
    ),
    "clock jumps forward mkv": remuxed(
        ".mkv", (), stamped("PTS+gte(N,60)*20/TB", dts="DTS+gte(N,60)*20/TB"), *x264(params=NO_B)
    ),
    "clock jumps forward ts": joined(".ts", part(0), part(1, *TEN_LATER)),
    "clock jumps back ts": joined(".ts", part(0, *TEN_LATER), part(1)),
    "clock starts again ts": joined(".ts", part(0), part(1), part(2)),
    "clock starts again ts, mpeg2": joined(".ts", part(0, video=MPEG2), part(1, video=MPEG2)),
    "clock wraps ts": encoded(".ts", *x264("-output_ts_offset", "95439.7")),
    "clock starts again mpg": joined(
        ".mpg", part(0, suffix=".mpg", video=MPEG2), part(1, suffix=".mpg", video=MPEG2)
    ),
    "clock starts again flv": joined(
        ".flv", part(0, suffix=".flv"), part(1, suffix=".flv")
    ),
    # starts
    "starts at 100 s mp4": encoded(".mp4", *x264(*TEN_LATER)),
    "starts at 100 s mkv": encoded(".mkv", *x264(*TEN_LATER)),
    "starts at 100 s ts": encoded(".ts", *x264(*TEN_LATER)),
    "negative offsets mp4": encoded(
        ".mp4", *x264("-movflags", "+negative_cts_offsets", "-use_editlist", "0")
    ),
    "no edit list, B-frames mp4": encoded(".mp4", *x264("-use_editlist", "0")),
    "before the first keyframe ts": changed(
        encoded(".ts", *x264(params="keyint=60:min-keyint=60:scenecut=0")),
        lambda data: data[len(data) // 188 // 4 * 188 :],
    ),
    "before the first keyframe mpg": changed(
        encoded(".mpg", *MPEG2), lambda data: data[len(data) // 2048 // 4 * 2048 :]
    ),
    # edits
    "edit list mp4, start cut": remuxed(".mp4", ("-ss", "1.6"), (), *x264()),
    "edit list mov, start cut": remuxed(".mov", ("-ss", "2.52"), (), *x264()),
    "edit list mp4, end cut": changed(
        encoded(".mp4", *x264(params=NO_B)), with_edits((3000, 0))
    ),
    "edit list mp4, two parts": changed(
        encoded(".mp4", *x264(params=NO_B)),
        with_edits((2000, 0), (2000, 4 * 12800)),
    ),
    "edit list mp4, parts in another order": changed(
        encoded(".mp4", *x264(params=NO_B)),
        with_edits((2000, 4 * 12800), (2000, 0)),
    ),
    "edit list mp4, a part twice": changed(
        encoded(".mp4", *x264(params=NO_B)),
        with_edits((2000, 0), (2000, 0)),
    ),
    "edit list mp4, begins late": changed(
        encoded(".mp4", *x264(params=NO_B)), with_edits((2000, -1), (6000, 0))
    ),
    "edit list mp4, open groups": remuxed(
        ".mp4", ("-ss", "2.0"), (),
        *x264(params="keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=3"),
    ),
    # live recordings and streams
    "live mkv": piped(".mkv", "matroska", *x264("-live", "1")),
    "live webm": piped(".webm", "webm", *VP9, "-live", "1"),
    "live flv": piped(".flv", "flv", *x264("-flvflags", "no_duration_filesize")),
    "live mp4": piped(".mp4", "mp4", *x264("-movflags", FRAGMENTS)),
    "live avi": piped(".avi", "avi", *MPEG4),
    "live ts": piped(".ts", "mpegts", *x264()),
    "live wmv": piped(".wmv", "asf", "-c:v", "wmv2", "-b:v", "1M", "-g", "30"),
    "live ismv": piped(".mp4", "ismv", *x264()),
    "mkv without an index": piped(".mkv", "matroska", *x264()),
}  # fmt: skip
