"""Short form of `python -m tests.benchmarks.decode`: a few kinds, `auto` alone."""

import dataclasses

import numpy as np
import pytest

from tests.frame_truth import code, corpus, page, reference, verdicts

CHEAP = (
    "h264 mp4",
    "h264 avi, B-frames without times",
    "mpeg4 mp4, B-frames",
    "variable rate mkv",
    "frozen for seven seconds mp4",
    "doubled time mkv",
    "clock jumps back ts",
    "edit list mp4, start cut",
    "edit list mp4, a part twice",
    "live flv",
    "h264 mp4, mirrored left to right",
    "h264 mp4, mirrored, turned by 90",
    "mpeg2 m2v, no container",
    "cut mkv",
    "a hole mp4",
    "Git LFS pointer mp4",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """kind -> path."""
    return corpus.make(tmp_path_factory.mktemp("corpus"), CHEAP)


@pytest.fixture(scope="module")
def found(files):
    """kind -> (what auto gave, the reference's truth)."""
    given = verdicts.extracted(files.values(), count=12)
    truths = {name: reference.decode(path, kind=corpus.KINDS[name]) for name, path in files.items()}
    return {name: (ours, truths[name]) for name, ours in zip(CHEAP, given, strict=True)}


@pytest.mark.parametrize("name", CHEAP)
def test_auto_shows_the_references_frames_or_says_why_not(found, name):
    ours, truth = found[name]
    refused = corpus.KINDS[name].refused
    picks = verdicts.picks_of(truth, "per_second", 12)
    assert verdicts.fault(ours, truth, refused=refused, picks=picks) == ""
    if not refused:
        assert verdicts.levels_off(ours, truth, picks) <= verdicts.ROUNDING


def test_what_ingest_probed_gives_the_same_frames(files, found):
    for name, listed in zip(
        CHEAP, verdicts.extracted(files.values(), count=12, listed=True), strict=True
    ):
        ours, _ = found[name]
        assert (listed.outcome, listed.reason) == (ours.outcome, ours.reason)
        np.testing.assert_array_equal(listed.frames, ours.frames)
        np.testing.assert_array_equal(listed.times, ours.times)


def test_a_wrong_frame_time_or_silence_is_a_fault(found):
    ours, truth = found["h264 mp4"]
    picks = truth.one_a_second()

    def fault(refused=False, **changes):
        other = dataclasses.replace(ours, **changes)
        return verdicts.fault(other, truth, refused=refused, picks=picks)

    assert fault() == ""
    assert fault(seen=(*ours.seen[:-1], code.Seen(99))).startswith("frames")
    assert fault(seen=ours.seen[:-1]).startswith("frames")
    assert fault(times=ours.times + 0.02).startswith("times")
    assert fault(outcome="quarantined", reason="damaged").startswith("refused")
    assert fault(refused=True).startswith("silent")


def test_numbers_read_back_in_every_orientation_and_noise_does_not():
    picture = code.painted([1234], width=161, height=120, tag=5)[0]
    for orientation in code.ORIENTATIONS:
        seen = code.read(code.turned(picture, orientation))
        assert seen == code.Seen(1234, 5, orientation)
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert code.read(noise) is None
    blended = (code.painted([1, 14], width=160, height=120).astype(int).sum(0) // 2).astype("uint8")
    assert code.read(blended) not in (code.Seen(1), code.Seen(14))


def test_the_page_counts_what_is_right():
    rows = [
        page.Row("a", {"auto": "right", "other": "wrong"}, frames=6, levels=1, reason=""),
        page.Row("b", {"auto": "refused", "other": "silent"}, frames=0, levels=0, reason="damaged"),
    ]
    text = page.written(rows, {}, {"whole": ["a"], "broken": ["b"]})
    assert "| all | 2 | 2 | 0 |" in text
    assert "| wrong or silent | 2 | 0 | 2 |" in text
    assert "| a | 6 | 1 | right | wrong |" in text
    assert "| b | damaged | refused | silent |" in text
