"""The decoders compared, each as its users call it: from a path to upright pictures, or an error.

Each is asked for the frames on screen at 0 s, 1 s, 2 s, … (`one_a_second`), or for twelve from the
first to the last (`evenly`); how many there are is for it to find out. One thread each.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reelvec.storage.video.transform import fit

SIZE = 224
COUNT = 12


@dataclass(frozen=True)
class Way:
    """One decoder: its two questions, and the module it needs."""

    module: str
    one_a_second: Callable
    evenly: Callable

    @property
    def here(self):
        """Its library is installed, and loads: torchcodec's wants FFmpeg's own libraries."""
        try:
            importlib.import_module(self.module)
        except (ImportError, OSError, RuntimeError):
            return False
        return True


def evenly_of(total):
    return np.unique(np.linspace(0, total - 1, COUNT).astype(np.int64)).tolist()


def seconds_until(end):
    return np.arange(max(1, int(np.ceil(end - 0.0005))))


def fitted(pictures):
    """The squares that are stored: [T, 224, 224, 3]."""
    out = []
    for picture in pictures:
        square = np.empty((SIZE, SIZE, 3), np.uint8)
        fit(picture, size=SIZE, out=square)
        out.append(square)
    return np.stack(out)


# torchcodec


def _torchcodec(mode):
    def opened(path):
        from torchcodec.decoders import VideoDecoder

        return VideoDecoder(str(path), seek_mode=mode, num_ffmpeg_threads=1, dimension_order="NHWC")

    def one_a_second(path):
        video = opened(path)
        begin = video.metadata.begin_stream_seconds or 0.0
        times = begin + seconds_until(video.metadata.end_stream_seconds - begin)
        return fitted(video.get_frames_played_at(seconds=times.tolist()).data.numpy())

    def evenly(path):
        video = opened(path)
        return fitted(video.get_frames_at(evenly_of(len(video))).data.numpy())

    return Way("torchcodec.decoders", one_a_second, evenly)


# decord


def _decord(path):
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)


def decord_one_a_second(path):
    video = _decord(path)
    shown = video.get_frame_timestamp(list(range(len(video))))  # [N, 2]: start and end
    times = seconds_until(shown[-1, 1] - shown[0, 0]) + shown[0, 0]
    picks = np.unique(np.searchsorted(shown[:, 0], times + 0.0005, side="right") - 1)
    return fitted(video[int(index)].asnumpy() for index in picks)


def decord_evenly(path):
    video = _decord(path)
    return fitted(video[index].asnumpy() for index in evenly_of(len(video)))


# OpenCV


def _cv2(path):
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    rate, total = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened() or rate <= 0:
        raise ValueError("not opened")
    return capture, rate, total


def _by_rate(rate, total):
    """Index of the frame at each whole second, as CLIP4Clip works it out."""
    return [round(second * rate) for second in range(max(1, int(np.ceil(total / rate - 1e-3))))]


def cv2_sought(capture, picks):
    """A seek and a read a frame: CLIP4Clip's way (dataloaders/rawvideo_util.py)."""
    import cv2

    for index in picks:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        done, picture = capture.read()
        if not done:
            raise ValueError(f"no frame {index}")
        yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def cv2_in_order(capture, picks):
    """All frames grabbed, the wanted ones retrieved."""
    import cv2

    wanted = set(picks)
    for index in range(picks[-1] + 1):
        if not capture.grab():
            raise ValueError(f"no frame {index}")
        if index in wanted:
            yield cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)


def _opencv(pictures):
    def one_a_second(path):
        capture, rate, total = _cv2(path)
        return fitted(pictures(capture, _by_rate(rate, total)))

    def evenly(path):
        capture, _, total = _cv2(path)
        return fitted(pictures(capture, evenly_of(total)))

    return Way("cv2", one_a_second, evenly)


# PyAV, naively: decode all, go by each frame's time; nothing is turned, nothing is checked


def pyav_one_a_second(path):
    import av

    def pictures():
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            start, second, before = None, 0, None
            for frame in container.decode(video=0):
                start = frame.time if start is None else start
                if before is not None and frame.time - start > second + 0.0005:
                    yield before.to_ndarray(format="rgb24")
                    second = int(np.ceil(frame.time - start - 0.0005))
                before = frame
            if before is not None and before.time - start >= second - 0.0005:
                yield before.to_ndarray(format="rgb24")

    return fitted(pictures())


def pyav_evenly(path):
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        total = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
    wanted = set(evenly_of(total))

    def pictures():
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    yield frame.to_ndarray(format="rgb24")

    return fitted(pictures())


RIVALS = {
    "torchcodec exact": _torchcodec("exact"),
    "torchcodec approximate": _torchcodec("approximate"),
    "decord": Way("decord", decord_one_a_second, decord_evenly),
    "OpenCV, a seek a frame": _opencv(cv2_sought),
    "OpenCV, in order": _opencv(cv2_in_order),
    "PyAV, naive": Way("av", pyav_one_a_second, pyav_evenly),
}
