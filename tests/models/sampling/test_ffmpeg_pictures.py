"""The pictures `ffmpeg -r 5` writes, against ffmpeg itself: each frame shows its own number."""

import subprocess

import numpy as np
import pytest

from reelvec.models.sampling.originals import ffmpeg_pictures
from reelvec.models.sampling.rules import Rule, Timeline, choose
from reelvec.storage.video.ffmpeg_reader import ffmpeg_program
from reelvec.storage.video.probe import probe

FFMPEG = [ffmpeg_program(), "-v", "error", "-y"]
BITS = np.arange(16)


def numbered(path, *, frames, rate, times=None):
    """A clip of 16 squares a frame: the number in binary; `times` in 1/25 s make the rate vary."""
    squares = ((np.arange(frames)[:, None] >> BITS) & 1).reshape(-1, 4, 4) * 255
    raw = squares.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "16x16", "-r", rate, "-i", "-"]
    if times is not None:
        moved = "+".join(f"eq(N,{n})*{time}" for n, time in enumerate(times))
        source += ["-vf", f"settb=1/25,setpts='{moved}'", "-fps_mode", "passthrough", "-bf", "0"]
    codec = ["-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([*FFMPEG, *source, *codec], input=raw.tobytes(), check=True)


def written(path):
    """Numbers of the frames on its pictures at five a second."""
    out = ["-i", str(path), "-r", "5", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    done = subprocess.run([*FFMPEG, *out], check=True, capture_output=True)
    pictures = np.frombuffer(done.stdout, np.uint8).reshape(-1, 16, 16)
    return [int(((shown[2::4, 2::4].ravel() > 127) << BITS).sum()) for shown in pictures]


def ours(times, durations):
    return ffmpeg_pictures(np.asarray(times), np.asarray(durations), rate=5.0).tolist()


@pytest.mark.parametrize(
    ("rate", "frames"),
    [("25", 250), ("30000/1001", 90), ("12", 40), ("5", 9), ("3", 15), ("1/2", 3), ("25", 1)],
)
def test_a_constant_rate(tmp_path, rate, frames):
    numbered(tmp_path / "clip.mp4", frames=frames, rate=rate)
    above, _, below = rate.partition("/")
    seconds = int(below or 1) / int(above)
    found = ours(np.arange(frames) * seconds, np.full(frames, seconds))
    assert found == written(tmp_path / "clip.mp4")
    if frames == 250:
        assert (len(found), found[:5]) == (52, [0, 1, 4, 9, 14])


def varying(path, *, seed):
    """A clip whose gaps are 1 to 20 times 1/25 s."""
    random = np.random.RandomState(seed)
    gaps = random.choice([1, 2, 3, 5, 9, 20], size=random.randint(5, 40))
    times = [0, *np.cumsum(gaps).tolist()]
    numbered(path, frames=len(times), rate="25", times=times)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_variable_rate(tmp_path, suffix, seed):
    """As the containers say how long a frame is shown: MP4 until the next, the others as usual."""
    path = tmp_path / f"clip.{suffix}"
    varying(path, seed=seed)
    found = probe(path)
    timeline = Timeline(
        pts_seconds=found.pts_seconds, fps=float(found.fps), frame_seconds=found.frame_seconds
    )
    assert ours(timeline.pts_seconds, timeline.durations) == written(path)
    until = Timeline(pts_seconds=found.pts_seconds, fps=25.0).durations
    assert (ours(timeline.pts_seconds, until) == written(path)) == (suffix == "mp4")


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi"])
def test_a_constant_rate_in_other_containers(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    numbered(path, frames=40, rate="12")
    found = probe(path)
    assert ours(found.pts_seconds, found.frame_seconds) == written(path)


def test_the_policy_chooses_among_these_pictures_of_the_window():
    whole = Timeline(pts_seconds=np.arange(250) / 25, fps=25.0)
    rule = Rule(policy="clip2video_ffmpeg", count=12)
    pictures = ours(whole.pts_seconds, whole.durations)
    wanted = [pictures[place] for place in np.linspace(0, 51, 12, dtype=int)]
    assert choose(rule, timeline=whole).tolist() == wanted
    part = Timeline(pts_seconds=whole.pts_seconds, fps=25.0, start_seconds=2.0, end_seconds=12.0)
    assert choose(rule, timeline=part)[:3].tolist() == [
        50,
        59,
        79,
    ]  # pictures 0, 3 and 7 of 0 1 4 9 …
    empty = Timeline(pts_seconds=whole.pts_seconds, fps=25.0, start_seconds=20.0)
    assert choose(rule, timeline=empty).tolist() == []


def test_its_training_moves_all_but_the_first_and_the_last():
    whole = Timeline(pts_seconds=np.arange(2500) / 25, fps=25.0)
    calm = choose(Rule(policy="clip2video_ffmpeg", count=8), timeline=whole)
    moved = choose(Rule(policy="clip2video_ffmpeg_train", count=8, seed=1), timeline=whole)
    assert (moved[0], moved[-1]) == (calm[0], calm[-1])
    assert (moved[1:-1] != calm[1:-1]).any()
