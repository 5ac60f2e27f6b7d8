"""Short form of `python -m tests.drills.hostile_captions`: the readers, in one process."""

import json
import subprocess
import sys
from pathlib import Path

from tests.drills.hostile_captions import CASES, MEBIBYTES, SECONDS

READ = {"4,000 digits as an id", "half pairs as keys", "keys by the thousand"}
"""Odd, but captions; all others are refused."""


def test_hostile_files_are_refused_in_words_and_within_bounds():
    run = subprocess.run(
        [sys.executable, "-m", "tests.drills.hostile_captions", "--library"],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=280,
    )
    found = json.loads(run.stdout)
    assert len(found) == sum(not case.large for case in CASES) >= 75
    assert {title for title, (outcome, _, _) in found.items() if outcome == "read"} == READ
    outcomes = {outcome for outcome, _, _ in found.values()}
    assert outcomes == {"read", "CorpusError", "ConfigError"}
    for title, (_, seconds, mebibytes) in found.items():
        assert seconds < SECONDS / 4 and mebibytes < MEBIBYTES / 4, (title, seconds, mebibytes)
