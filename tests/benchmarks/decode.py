"""Reading 12 frames of a clip: our `auto` against the ways of others, on every kind of file.

CPU seconds a clip (this process and its children) as a multiple of `auto` in the same round, median
of interleaved rounds: above 1 is slower than ours. Every frame's painted barcode is read; a reader
that returns a wrong frame has no speed there ("wrong"). The ffmpeg null decode of the whole file
stands beside as the price of decoding everything. All give 224 x 224 frames by the same resize and
decode with one thread, but for ffmpeg null, which gives none.

``python -m tests.benchmarks.decode [KIND…]``; with ``--write-table`` it writes the table `auto`
reads (storage/video/decoder_table.json): right or wrong from all sets of frames of the tests' own
files, costs from this run. OpenCV is a rival only where cv2 is installed; a line says where not.
"""

import argparse
import importlib.util
import os
import random
import resource
import statistics
import subprocess
import tempfile
from collections import defaultdict

import av
import numpy as np
import torch

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.video.contract import FrameSink, Reading
from reelvec.storage.video.decoder_table import (
    TABLE_PATH,
    DecoderTable,
    Verdict,
    kind_of,
    shipped_table,
)
from reelvec.storage.video.decoders import READERS, read_frames
from reelvec.storage.video.ffmpeg_reader import ffmpeg_program
from reelvec.storage.video.orientation import UPRIGHT, orientation_of
from reelvec.storage.video.probe import probe
from reelvec.storage.video.selective import read_sequentially
from reelvec.storage.video.transform import fit
from tests.storage.video.contracts import found, is_right, notices_damage, upright
from tests.support import media

FRAMES, TARGETS, ROUNDS = 250, 12, 3
HAS_CV2 = importlib.util.find_spec("cv2") is not None


def ours(path, picks):
    return read_frames(picks, probe=probe(path)).frames


def through(reader):
    """A reader of ours on its own, its probe included."""

    def way(path, picks):
        file, options = probe(path), FrameOptions()
        sink = FrameSink(picks, options=options, allocate=lambda shape: np.zeros(shape, np.uint8))
        reader(Reading(path=file.path, probe=file, sink=sink, options=options))
        return sink.frames

    return way


def decord_random(path, picks):
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    return fitted(video[int(index)].asnumpy() for index in picks)


def cv2_seek(path, picks):
    """CLIP4Clip's way (dataloaders/rawvideo_util.py): one seek and one read a frame."""
    return fitted(cv2_sought(path, picks))


def cv2_sought(path, picks):
    """Pictures of `cv2_seek` as they come."""
    import cv2

    capture = opened(path)
    for index in picks:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        yield cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)


def cv2_in_order(path, picks):
    """All frames grabbed, the wanted ones retrieved."""
    import cv2

    def pictures():
        wanted = set(picks.tolist())
        for index in range(picks[-1] + 1):
            capture.grab()
            if index in wanted:
                yield cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)

    capture = opened(path)
    return fitted(pictures())


def opened(path):
    import cv2

    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def pyav_seek(path, picks):
    """Seek to the keyframe before each frame and decode up to it, by frame number over rate."""
    return fitted(pyav_sought(path, picks))


def pyav_sought(path, picks):
    """Pictures of `pyav_seek` as they come."""
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
                    yield _shown(frame)
                    break


def _shown(frame):
    """The picture as a player shows it."""
    return (orientation_of(frame) or UPRIGHT).show(frame.to_ndarray(format="rgb24"))


def fitted(pictures):
    out = []
    for picture in pictures:
        square = np.empty((224, 224, 3), np.uint8)
        fit(picture, size=224, out=square)
        out.append(square)
    return np.stack(out)


def ffmpeg_null(path, picks):
    command = [ffmpeg_program(), "-v", "error", "-threads", "1", "-i", str(path)]
    subprocess.run([*command, "-map", "0:v:0", "-f", "null", "-"], check=True, capture_output=True)


OPENCV = {"cv2 seek": cv2_seek, "cv2 all": cv2_in_order}
WAYS = {
    "auto": ours,
    "PyAV all": through(read_sequentially),
    "PyAV seek": pyav_seek,
    "decord": decord_random,
    **(OPENCV if HAS_CV2 else {}),
    "ffmpeg pipe": through(READERS["ffmpeg"]),
    "ffmpeg null": ffmpeg_null,
}
RIVALS = [way for way in WAYS if way not in ("auto", "ffmpeg null")]


def cpu_seconds():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def timed(way, path, picks):
    """(CPU seconds, frames) of one call."""
    before = cpu_seconds()
    frames = way(path, picks)
    return cpu_seconds() - before, frames


def measure(name, path, ways=WAYS, rounds=ROUNDS):
    """way -> multiple of the first way's CPU seconds, median of the rounds; "wrong"; "fails"."""
    shown = media.KINDS[name].frames_kept[0] + np.arange(probe(path).frames_counted)
    picks = np.linspace(0, len(shown) - 1, TARGETS, dtype=np.int64)
    spent, failed = {way: [] for way in ways}, {}
    for number in range(rounds):
        # a forked child leaves its parent's pages to be copied: the next way pays for that
        for way in random.Random(number).sample(list(ways), len(ways)):
            try:
                seconds, frames = timed(ways[way], path, picks)
            except Exception:  # each library has its own; here it only means: no speed
                if not spent[way] and way == next(iter(ways)):
                    raise  # nothing to be compared with
                failed[way] = "fails"
                continue
            spent[way].append(seconds)
            if frames is not None:
                numbers = [media.barcode(upright(name, frame)) for frame in frames]
                if numbers != shown[picks].tolist():
                    failed[way] = "wrong"
    base = spent[next(iter(ways))]
    return {
        way: failed.get(way)
        or statistics.median(mine / ours for mine, ours in zip(spent[way], base, strict=True))
        for way in ways
    }


def table_of(folder, prices):
    """The table: verdicts of the tests' files, which share a kind only if all are right."""
    seen = defaultdict(list)
    for name in media.KINDS:
        seen[kind_of(found(name))].append(name)
    verdicts = {}
    for kind, names in seen.items():
        right = {d for d in READERS if all(is_right(d, name) for name in names)}
        cost = {d: statistics.median(prices[name][d] for name in names) for d in right}
        verdicts[kind] = Verdict(right=frozenset(right), cost=cost)
    noticing = frozenset(d for d in READERS if notices_damage(d, folder))
    return DecoderTable(notices_damage=noticing, verdicts=verdicts), seen


def write_table(folder, path=TABLE_PATH, *, files):
    """Price our readers on `files` (name -> path), find out which are right, write both."""
    ours_alone = {name: through(reader) for name, reader in READERS.items()}
    prices = {name: measure(name, file, ours_alone) for name, file in files.items()}
    table, seen = table_of(folder, prices)
    table.write(path, seen=seen)
    print(f"wrote {path}: {len(table.verdicts)} kinds of file")


def show(name, row):
    cells = [cell if isinstance(cell, str) else f"{cell:.2f}" for cell in row.values()]
    print(f"{name:22}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def summary(rows):
    """The mix, and how far `auto` is behind the best correct rival of a kind at most."""
    numbers = {
        way: [row[way] for row in rows.values() if not isinstance(row[way], str)] for way in WAYS
    }
    show("geometric mean", {w: statistics.geometric_mean(v) for w, v in numbers.items()})
    show("kinds right, of all", {way: f"{len(v)}/{len(rows)}" for way, v in numbers.items()})
    best = {
        name: min((row[w], w) for w in RIVALS if not isinstance(row[w], str))
        for name, row in rows.items()
    }
    name, (ratio, way) = min(best.items(), key=lambda item: item[1][0])
    print(f"best correct rival at its closest: {way} on {name}, {ratio:.2f} of auto's CPU time")


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decode")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(media.KINDS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write-table", action="store_true")
    chosen = parser.parse_args(list(arguments))
    unknown = sorted(set(chosen.kinds) - set(media.KINDS))
    if unknown or (chosen.write_table and chosen.kinds):
        parser.error(f"no kind {unknown[0]}" if unknown else "the table needs all kinds")
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    torch.set_num_threads(1)
    frames = media.painted(FRAMES, width=640, height=360)
    print(f"{TARGETS} of {FRAMES} frames, 640 x 360; CPU seconds over auto's")
    if not HAS_CV2:
        print("OpenCV is left out: cv2 is not installed (pip install opencv-python-headless)")
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: media.encode_kind(folder, name, frames=frames)
            for name in chosen.kinds or media.KINDS
        }
        if chosen.write_table:
            write_table(folder, files=files)
            shipped_table.cache_clear()
        print(f"{'kind':22}" + "".join(f"{way:>12}" for way in WAYS))
        rows = {}
        for name, path in files.items():
            rows[name] = measure(name, path, rounds=chosen.rounds)
            show(name, rows[name])
        summary(rows)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
