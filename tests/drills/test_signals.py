"""The short form of `python -m tests.drills.signals`: one case each of what differs most."""

import pytest

from tests.drills.signals import Case, all_cases, run

CASES = [
    Case("extract", "kill main", "1 process"),
    Case("train", "int", "2 processes"),
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_ends_within_ten_seconds_and_leaves_nothing(tmp_path):
    assert set(CASES) <= set(all_cases())
    results = run(CASES, seed=1, folder=tmp_path)
    assert {case: result.faults for case, result in results.items()} == {case: [] for case in CASES}
    assert [result.code for result in results.values()] == [-9, 130]
