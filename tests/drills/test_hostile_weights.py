"""Short form of `python -m tests.drills.hostile_weights`: every case, in one process."""

import json
import os
import resource

import pytest
import torch

from tests.drills.hostile_weights import CASES, MEMORY_MB, answer, good

SLOW = {
    "200,000 tensors.safetensors",
    "tuple a million deep as key.pt",
    "three million steps.pt",
    "attributes again and again.pt",
    "adaclip, a trillion hidden.pth",
}
"""Some seconds each; the script has them."""


@pytest.mark.parametrize("case", [c for c in CASES if c.name not in SLOW], ids=lambda c: c.name)
def test_a_hostile_file_is_refused_with_words(case, tmp_path):
    path = tmp_path / case.name
    case.write(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, said = answer(["import", f"{case.prefix}{path}", str(tmp_path / "out")])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert (code, case.says in said) == (1, True), said
    assert said.startswith("reelvec: ") and "Traceback" not in said
    assert grown < MEMORY_MB and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["NaN.pt", "facts nested.pt", "2,000 layers.safetensors"])
def test_inspect_never_says_fits_of_what_import_refuses(name, tmp_path):
    (case,) = [case for case in CASES if case.name == name]
    case.write(tmp_path / name)
    code, said = answer(["inspect", str(tmp_path / name), "--json"])
    facts = json.loads(said)
    assert (code, facts["families"]) == (0, []) and case.says in facts["problem"]


def test_the_file_they_are_made_from_is_taken(tmp_path):
    """Otherwise any refusal would do."""
    torch.save(good(), tmp_path / "good.pt")
    assert answer(["import", str(tmp_path / "good.pt"), str(tmp_path / "out")])[0] == 0
    assert os.path.getsize(tmp_path / "out") > 100_000
