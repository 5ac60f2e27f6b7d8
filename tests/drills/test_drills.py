"""The short form of `python -m tests.drills`: a mount that is gone for a night."""

import pytest

from tests.drills.__main__ import DRILLS, run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_store_outlasts_what_is_done_to_it():
    rows = run([drill for drill in DRILLS if drill.short])
    assert {row.name: row.wrong for row in rows} == {row.name: "" for row in rows}
    assert rows and all(row.seen for row in rows)
