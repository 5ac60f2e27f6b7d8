"""Reading 12 frames of a clip: our `auto` against the ways of others, on several kinds of file.

CPU seconds a clip (this process and its children), median of interleaved rounds, as a multiple of
`auto`: above 1 is slower than ours. Every frame's painted barcode is read; a reader that returns a
wrong frame has no speed there ("wrong"). The ffmpeg null decode of the whole file stands beside as
the price of decoding everything. All are given 224 x 224 frames by the same resize, but for ffmpeg
null, which gives none.

CLIP4Clip seeks to each frame with OpenCV; where cv2 is not installed, the same is done with PyAV
(seek to the keyframe before it, decode up to it), and the table says so.
"""

import importlib.util
import resource
import statistics
import subprocess
import tempfile

import av
import numpy as np
import torch

from storage.video.contract import DecodeOptions, FrameSink, Reading
from storage.video.decoders import read_frames
from storage.video.ffmpeg_reader import ffmpeg_program, read_with_ffmpeg
from storage.video.probe import probe
from storage.video.selective import read_sequentially
from storage.video.transform import fit
from tests import media

KINDS = (
    "h264_mp4", "h264_mp4_one_gop", "h264_open_mkv", "h264_avi_no_b", "mpeg4_avi", "hevc_mp4",
    "vp9_webm", "av1_mp4", "mpeg2_ts", "vfr_mp4",
)  # fmt: skip
ROUNDS = 3
TARGETS = 12
HAS_CV2 = importlib.util.find_spec("cv2") is not None


def ours(path, picks):
    return read_frames(picks, probe=probe(path)).frames


def pyav(path, picks):
    return _through(read_sequentially, path, picks)


def ffmpeg_pipe(path, picks):
    return _through(read_with_ffmpeg, path, picks)


def _through(reader, path, picks):
    found, options = probe(path), DecodeOptions()
    sink = FrameSink(picks, options=options, allocate=lambda shape: np.zeros(shape, np.uint8))
    reader(Reading(path=found.path, probe=found, sink=sink, options=options))
    return sink.frames


def decord_random(path, picks):
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    return _fitted(video[int(index)].asnumpy() for index in picks)


def seek_per_frame(path, picks):
    """CLIP4Clip's way: one seek and one read a frame."""
    return _fitted(_cv2_frames(path, picks) if HAS_CV2 else _pyav_frames(path, picks))


def _cv2_frames(path, picks):
    import cv2

    capture = cv2.VideoCapture(str(path))
    for index in picks:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        yield cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)


def _pyav_frames(path, picks):
    """As OpenCV does it: frame number over frame rate is the time sought."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        rate, start = stream.average_rate, stream.start_time or 0
        untimed = container.format.name == "avi"  # its PTS after a seek may be one frame late
        for index in picks:
            wanted = start + int(index / rate / stream.time_base)
            container.seek(wanted, stream=stream)
            for frame in container.decode(stream):
                at = frame.dts if untimed else frame.pts
                if at is not None and at >= wanted:
                    yield frame.to_ndarray(format="rgb24")
                    break


def _fitted(pictures):
    out = []
    for picture in pictures:
        square = np.empty((224, 224, 3), np.uint8)
        fit(picture, size=224, out=square)
        out.append(square)
    return np.stack(out)


def ffmpeg_null(path, picks):
    command = [ffmpeg_program(), "-v", "error", "-threads", "1", "-i", str(path)]
    subprocess.run([*command, "-map", "0:v:0", "-f", "null", "-"], check=True, capture_output=True)


WAYS = {
    "auto": ours,
    "PyAV all": pyav,
    "decord": decord_random,
    "seek/frame": seek_per_frame,
    "ffmpeg pipe": ffmpeg_pipe,
    "ffmpeg null": ffmpeg_null,
}


def cpu_seconds():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def timed(way, path, picks):
    """(CPU seconds, barcodes) of one call; inf where it fails."""
    before = cpu_seconds()
    try:
        frames = way(path, picks)
    except Exception:  # each library has its own; here it only means: no speed
        return float("inf"), None
    spent = cpu_seconds() - before
    return spent, None if frames is None else [media.barcode(frame) for frame in frames]


def row(name, path, picks):
    spent = {way: [] for way in WAYS}
    wrong = set()
    for _ in range(ROUNDS):
        for way, function in WAYS.items():
            seconds, numbers = timed(function, path, picks)
            spent[way].append(seconds)
            if function is not ffmpeg_null and numbers != picks.tolist():
                wrong.add(way)
    medians = {way: statistics.median(seconds) for way, seconds in spent.items()}
    base = medians["auto"]
    cells = [
        ("wrong" if seconds < float("inf") else "fails")
        if way in wrong
        else f"{seconds / base:.2f}"
        for way, seconds in medians.items()
    ]
    print(f"{name:18}{base * 1000:8.1f}  " + "".join(f"{cell:>12}" for cell in cells), flush=True)
    return {way: (float("nan") if way in wrong else s) for way, s in medians.items()}


def main():
    torch.set_num_threads(1)
    frames = media.painted(250, width=640, height=360)
    picks = np.linspace(0, len(frames) - 1, TARGETS, dtype=np.int64)
    print(
        f"12 of 250 frames, 640 x 360; seek/frame with {'OpenCV' if HAS_CV2 else 'PyAV (no cv2)'}"
    )
    print(f"{'kind':18}{'auto ms':>8}  " + "".join(f"{way:>12}" for way in WAYS))
    totals = []
    started = cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        for name in KINDS:
            if cpu_seconds() - started > 50:
                print("(the rest is left out: a minute is over)")
                break
            totals.append(row(name, media.encode_kind(folder, name, frames=frames), picks))
    ratios = {way: [t[way] / t["auto"] for t in totals] for way in WAYS}
    means = (float(np.exp(np.nanmean(np.log(values)))) for values in ratios.values())
    print(f"{'geometric mean':28}" + "".join(f"{mean:12.2f}" for mean in means))


if __name__ == "__main__":
    main()
