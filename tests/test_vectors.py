"""Fixed inputs give the numbers they gave when stores were made with this code.

If these numbers change, raise the recipe number in reelvec/tasks/identity.py (training's:
reelvec/tasks/training/identity.py), so that no table holds rows of both kinds; then write them
anew: `python -m tests.support.vector_cases`.
"""

import json

import pytest

from reelvec.tasks import identity
from reelvec.tasks.training.identity import TRAINING_RECIPE
from tests.support import vector_cases


@pytest.mark.parametrize("case", vector_cases.CASES)
def test_numbers_are_those_of_the_recipe(case):
    assert vector_cases.differences(case) == []


def test_the_recipe_is_the_one_the_numbers_were_written_with():
    held = json.loads(vector_cases.GOLDEN.read_text(encoding="utf-8"))["recipes"]
    assert vector_cases.recipes() == held
    assert vector_cases.recipes()["frames"] == identity.FRAMES_RECIPE
    assert vector_cases.recipes()["training"] == TRAINING_RECIPE


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ([[2], [1.0, 0.5, 0.5, 1e-6]], [[2], [1.0, 0.5, 0.5, 1e-6]], True),
        ([[2], [1.0, 0.5000001, 0.5, 1e-6]], [[2], [1.0, 0.5, 0.5, 1e-6]], True),
        ([[2], [1.0, 0.50001, 0.5, 1e-6]], [[2], [1.0, 0.5, 0.5, 1e-6]], False),
        ([[3], [1.0, 0.5, 0.5, 1e-6]], [[2], [1.0, 0.5, 0.5, 1e-6]], False),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [1, 3]}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ([1], [1, 2], False),
        ("ok", "damaged", False),
    ],
)
def test_what_agrees(found, expected, same):
    assert vector_cases.agrees(found, expected) is same
