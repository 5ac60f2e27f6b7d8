"""The short form of `python -m tests.drills.kill_matrix`: twelve kills over all stages."""

from collections import Counter

import pytest

from tests.drills.kill_matrix import STAGES, run


@pytest.mark.slow
def test_twelve_kills_at_named_write_points_change_nothing(tmp_path):
    table = run(12, seed=3, folder=tmp_path)
    total = sum(table.values(), Counter())
    assert (total["kills"], total["same"]) == (12, 12)
    for stage in STAGES:
        points = {point for of, point in table if of == stage}
        assert len(points) >= 10, "a stage that writes names its points"
        assert sum(row["kills"] for (of, _), row in table.items() if of == stage) >= 1
    everywhere = {point for _, point in table}
    kinds = ("part", "receipt", "snapshot", "removal", "pin", "scratch file", "folder")
    for kind in kinds:
        assert any(point.endswith(f" of {kind}") for point in everywhere)
