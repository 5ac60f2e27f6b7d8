"""The original systems' own frame rules, to the letter: counts in, indices out.

Each is exact to the goldens (goldens/frame_sampling.json), defects included; `rules` gives
them names as policies. The ``jpeg`` rules count the pictures of a folder the original filled first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "adaclip_segment",
    "adaclip_subset",
    "adaclip_uniform",
    "clip2video_jitter",
    "clip2video_two_stage",
    "clip4clip_cv2",
    "embedding_gemma2",
    "evenly_to_both_ends",
    "ffmpeg_pictures",
    "qwen3_vl",
    "videoprism",
    "xpool_segment",
]

Indices = npt.NDArray[np.int64]


def clip4clip_cv2(
    frame_count: int,
    *,
    fps: float,
    readable: int,
    rate: int = 1,
    window: tuple[int, int] | None = None,
) -> Indices:
    """CLIP4Clip's and X-CLIP's frames: whole fps, every second through the end *inclusive*.

    29.97 fps counts as 29, so picks drift: 0 29 58 87 … (never 30); reading stops at the first
    frame that is not there. Seconds 0, 1, … of 25 fps, rate 1:

        0 ........ 25 ........ 50 ........ 75      window (0, 3) takes 0 25 50 and 75 too
        x          x           x           x

    Args:
        frame_count: frames the header declares.
        fps: frames a second the header declares.
        readable: frames that can be read.
        rate: frames a second; 0: every frame.
        window: whole seconds (start, end), end inclusive; capped at the duration.

    Raises:
        ValueError: 0 fps (the original divides by zero), or fewer frames a second than `rate`.

    Source: RawVideoExtractorCV2.video_to_tensor; specs/clip4clip-clip2video.md 4.1,
    specs/xclip-adaclip.md A3.
    """
    whole_fps = int(fps)
    if whole_fps < 1:
        raise ValueError(f"fps ({fps}) must be >= 1 for the rule clip4clip; use per_second instead")
    duration = -(-frame_count // whole_fps)
    start, end = (0, duration) if window is None else (window[0], min(window[1], duration))
    offsets = np.arange(0, whole_fps, max(whole_fps // rate, 1) if rate > 0 else 1)
    if len(offsets) < rate:
        raise ValueError(
            f"rate ({rate}) must be <= fps ({whole_fps}) for the rule clip4clip; lower the rate, "
            "or use per_second"
        )
    offsets = offsets[: rate or whole_fps]
    wanted = (np.arange(start, end + 1)[:, None] * whole_fps + offsets[None, :]).ravel()
    return wanted[wanted < readable].astype(np.int64)


def ffmpeg_pictures(
    times: npt.NDArray[np.float64], durations: npt.NDArray[np.float64], *, rate: float
) -> Indices:
    """The pictures `ffmpeg -r RATE %08d.jpg` writes, as indices of frames; a frame may come twice.

    A frame is dropped once it lies more than 1.1 pictures behind, so a 10 s clip of 25 frames a
    second gives 52 pictures at rate 5, not 50:

        0 1 . . 4 . . . . 9 . . . . 14 . . . . 19 …
        x x     x         x         x          x

    Where a frame lasts less than the time until the next one (Matroska and MPEG-TS say the usual
    length of all), the frame before is repeated until the next one comes.

    Args:
        times: [N], seconds from the first frame, ascending.
        durations: [N], seconds, as the container or FFmpeg's demuxer says.
        rate: pictures a second.

    Source: video_sync_process of ffmpeg with constant rate, as pictures are written; the same
    indices as ffmpeg 9.0 of MP4, Matroska and MPEG-TS, at constant and variable rates. A variable
    AVI, and one whose picture starts after its sound, get others (docs/fidelity.md).
    """
    written: list[int] = []
    repeats = (0, 0, 0)  # of the frame before, for the last three frames
    for frame, (place, length) in enumerate(zip(times * rate, durations * rate, strict=True)):
        drift = place - len(written)
        end = drift + length
        count = 0 if end < -1.1 else int(np.rint(end)) if end > 1.1 else 1
        before = int(np.rint(drift - 0.6)) if drift > 1.1 and end > 1.1 else 0
        written += [max(frame - 1, 0)] * before + [frame] * (count - before)
        repeats = (before, *repeats[:2])
    written += [len(times) - 1] * sorted(repeats)[1]
    return np.array(written, dtype=np.int64)


def clip2video_two_stage(n_jpeg: int, *, framerate: int, max_frames: int) -> Indices:
    """CLIP2Video's choice of `n_jpeg` pictures: n // framerate, then max_frames of those.

    Both stages are linspace with both ends, truncated. n_jpeg 12, framerate 2, max_frames 3:

        0 1 2 3 4 5 6 7 8 9 10 11
        x   x   x   x   x      x       k = 6 of 12
        x       x              x       3 of those 6

    n_jpeg < framerate gives none (the original's empty video).
    Source: specs/clip4clip-clip2video.md 4.3.
    """
    k = n_jpeg // framerate
    first = np.linspace(0, n_jpeg - 1, k, dtype=np.int64)
    if k <= max_frames:
        return first
    return first[np.linspace(0, k - 1, max_frames, dtype=np.int64)]


def clip2video_jitter(indices: Indices, *, random: np.random.RandomState) -> Indices:
    """Its training noise: integers in [-step, step) on all but the first and the last.

    step = half the first gap, and nothing moves where that is 2 or less:

        0         12        25        37         49      gaps 12 -> step 6
        0      9.....       2…        40         49
    Source: specs/clip4clip-clip2video.md 4.3.
    """
    if len(indices) < 3:
        return indices
    step = int(indices[1] - indices[0]) // 2
    if step <= 2:
        return indices
    moved = indices.copy()
    moved[1:-1] += random.randint(-step, step, size=len(indices) - 2)
    return moved


def adaclip_uniform(n_jpeg: int, *, count: int) -> Indices:
    """floor(i T / count): the first of each segment; repeats where T < count.

    T 8, count 4:   0 1|2 3|4 5|6 7        T 2, count 4:   0 0 1 1
                    x   x   x   x
    Source: linspace(0, T, count, endpoint=False, dtype=int); specs/xclip-adaclip.md B3.
    """
    if n_jpeg == 0:
        return np.zeros(0, np.int64)
    return np.linspace(0, n_jpeg, count, endpoint=False, dtype=np.int64)


def adaclip_segment(n_jpeg: int, *, count: int) -> Indices:
    """The middle of each segment, its ends truncated first: (tick[i] + tick[i+1]) // 2.

    T 9, count 3:   0 1 2|3 4 5|6 7 8      T 17, count 16 ends … 13 14 16 (the last is two long)
                      x     x     x
    Source: specs/xclip-adaclip.md B3 (`--segment_sampling`).
    """
    if n_jpeg == 0:
        return np.zeros(0, np.int64)
    ticks = np.linspace(0, n_jpeg, count + 1, dtype=np.int64)
    return (ticks[:-1] + ticks[1:]) // 2


def qwen3_vl(frame_count: int, *, fps: float, rate: float, most: int) -> Indices:
    """`rate` frames a second, at least 4 and at most `most`, an even number, evenly to both ends.

    In float32 and rounded half to even, as torch.linspace does it; of a single frame that one.
    Source: qwen_vl_utils, smart_nframes; specs/clip-native-encoders.md 5.
    """
    import torch

    if frame_count < 2 or fps <= 0:
        return np.arange(min(frame_count, 1), dtype=np.int64)
    wanted = max(frame_count / fps * rate, 4)
    count = int(min(wanted, most // 2 * 2, frame_count)) // 2 * 2
    chosen = torch.linspace(0, frame_count - 1, count).round().long()
    return np.asarray(chosen.numpy(), np.int64)


def embedding_gemma2(frame_count: int, *, fps: float, rate: float) -> Indices:
    """`rate` frames a second by the mean rate of the file: int(i fps / rate), one at least.

    Source: transformers, EmbeddingGemma2VideoProcessor.sample_frames; the limit comes after.
    """
    if frame_count == 0 or fps <= 0:
        return np.arange(min(frame_count, 1), dtype=np.int64)
    count, step = max(1, int(frame_count / fps * rate)), fps / rate
    return np.array([min(frame_count - 1, int(i * step)) for i in range(count)], np.int64)


def videoprism(frame_count: int, *, count: int) -> Indices:
    """floor(i N / count): the first of each segment; fewer frames are repeated in place.

    Source: specs/clip-native-encoders.md 3; the same as AdaCLIP's, in whole numbers.
    """
    if frame_count == 0:
        return np.zeros(0, np.int64)
    return np.arange(count, dtype=np.int64) * frame_count // count


def evenly_to_both_ends(frame_count: int, *, count: int) -> Indices:
    """floor(i (N - 1) / (count - 1)): first and last frame among them; fewer are repeated in place.

    Source: transformers, PeVideoVideoProcessor.sample_frames; of a count of 1, which it divides by
    zero for, the first frame.
    """
    if frame_count == 0:
        return np.zeros(0, np.int64)
    return np.arange(count, dtype=np.int64) * (frame_count - 1) // max(count - 1, 1)


def xpool_segment(frame_count: int, *, count: int) -> Indices:
    """The middle of each segment, its ends truncated first: (tick[i] + tick[i+1] - 1) // 2.

    T 9, count 3:   0 1 2|3 4 5|6 7 8      T 2, count 4:   0 1
                      x     x     x
    Source: specs/more-heads.md 2.2 (`uniform`).
    """
    if frame_count == 0:
        return np.zeros(0, np.int64)
    ticks = np.linspace(0, frame_count, min(count, frame_count) + 1, dtype=np.int64)
    return (ticks[:-1] + ticks[1:] - 1) // 2


def adaclip_subset(indices: Indices, *, size: int) -> Indices:
    """`size` of `indices`: those at floor(i n / size).

    Source: specs/xclip-adaclip.md B3 (`--num_frm_subset`, uniform).
    """
    if len(indices) == 0:
        return indices
    return indices[np.linspace(0, len(indices), size, endpoint=False, dtype=np.int64)]
