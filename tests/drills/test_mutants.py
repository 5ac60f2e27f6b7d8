"""Short form of `python -m tests.drills.mutants`: sixty damaged videos, strict and salvaging."""

import pytest

from tests.drills.mutants import run


@pytest.mark.slow
def test_sixty_mutants_end_once_and_quarantined_ones_leave_no_frames(tmp_path):
    statuses = {}
    for damaged in ("strict", "salvage"):
        rows, wrong = run(tmp_path, videos=60, damaged=damaged, seed=5)
        assert wrong == []
        statuses[damaged] = [row.status for row in rows]
    assert 5 < statuses["strict"].count("ok") == statuses["salvage"].count("ok") < 55
    assert "salvaged" not in statuses["strict"]
    assert statuses["salvage"].count("salvaged") > 3
    assert statuses["salvage"].count("quarantined") > 3
