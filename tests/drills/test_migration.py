"""The short form of `python -m tests.drills.migration`: three kills."""

from collections import Counter

import pytest

from tests.drills.migration import drill


@pytest.mark.slow
def test_a_migration_killed_three_times_shows_a_reader_the_old_or_the_new(tmp_path):
    table = drill(3, seed=7, folder=tmp_path, videos=3)
    total = sum(table.values(), Counter())
    assert (total["kills"], total["wrong"]) == (3, 0)
    assert total["old"] > 0 and total["new"] > 0 and total["reads"] >= 6
