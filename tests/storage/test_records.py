"""Keys of clips: as stores carry them, and never one for two windows that show other frames."""

import pytest

from reelvec.storage.records import clip_key, window_of


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "ab12"),
        (0.0, 31.0, "ab12@0-31"),
        (None, 31.5, "ab12@0-31.5"),
        (2.0, None, "ab12@2-"),
        (12.345678, 12.99999999, "ab12@12.3457-13"),  # closer than times can be told apart
        (999.999, 1234.5, "ab12@999.999-1234.5"),
    ],
)
def test_keys_that_stores_carry(start, end, expected):
    assert clip_key("ab12", start_seconds=start, end_seconds=end) == expected


@pytest.mark.parametrize("hours", [1, 3, 30])
def test_windows_late_in_a_long_file_have_keys_of_their_own(hours):
    times = [hours * 3600 + frame / 25 for frame in range(50)]
    keys = {clip_key("ab12", start_seconds=time, end_seconds=time + 5) for time in times}
    assert len(keys) == len(times)
    keys = {clip_key("ab12", start_seconds=1.0, end_seconds=time) for time in times}
    assert len(keys) == len(times)


@pytest.mark.parametrize(
    ("start", "end"),
    [(0.0, 31.0), (2.0, None), (999.999, 1234.5), (1e-5, 2e-5), (1e6, 2e6 + 0.125)],
)
def test_a_key_says_its_window(start, end):
    found = window_of(clip_key("ab12", start_seconds=start, end_seconds=end))
    assert found == (pytest.approx(start), end if end is None else pytest.approx(end))
    assert [window_of(name) for name in ("ab12", "a@b", "x@1-y", "@1")] == [(0.0, None)] * 4
