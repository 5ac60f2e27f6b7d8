"""Short form of `python -m tests.drills.source_mutants`: ten mutants, a module each."""

import ast
import re
import subprocess
import sys

from tests.drills import source_mutants as drill

QUICK = (
    "models.sampling.rules", "models.sampling.timeline", "models.clip.preprocess",
    "models.clip.towers", "models.temporal", "models.features", "storage.records",
    "storage.video.transform", "tasks.identity", "tasks.training.identity",
)  # fmt: skip


def test_ten_mutants_are_caught():
    modules = [word for module in QUICK for word in ("--module", module)]
    command = [sys.executable, "-m", "tests.drills.source_mutants", "--mutants", "10", *modules]
    done = subprocess.run(command, cwd=drill.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = re.search(r"\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", done.stdout)
    planned, caught, same, survived = map(int, row.groups())
    assert (planned, survived) == (10, 0)
    assert caught >= 8
    assert caught + same == 10


def made(code):
    """Sources of a snippet's mutants."""
    walk = drill.Walk()
    tree = ast.parse(code)
    walk.visit(tree)
    return {
        ast.unparse(ast.fix_missing_locations(drill.put(tree, path, changed)))
        for path, _, _, node in walk.places
        for _, changed in drill.changes(node)
    }


def test_each_kind_of_change_is_made():
    assert made("x = 2") == {"x = 3"}
    assert made("x = a < b") == {"x = a <= b"}
    assert made("x = a and b") == {"x = a or b"}
    assert made("x = -a") == {"x = a"}
    assert made("x = a // b") == {"x = a * b"}
    assert made("x = f(a, b, k=c)") == {"x = f(b, a, k=c)", "x = f(a, b)"}
    assert made("x = a if b else c") == {"x = a if not b else c"}
    assert made("a.f()") == {"pass"}
    assert made("a += b") == {"pass"}
    assert made("if a:\n    b = c") == {"if not a:\n    b = c"}


def test_words_checks_and_annotations_are_left_alone():
    assert made("def f(x: Literal[1]) -> T[2]:\n    'Say 3.'\n    return x") == set()
    assert made("if a < 3:\n    raise E(f'{a + 1}')") == set()
    assert made("x = zip(a, a, strict=True)") == set()
    assert made("def recognise(x):\n    return x + 1") == set()


def test_a_survivor_counts_unless_a_reason_is_given(monkeypatch):
    mutant = next(iter(drill.mutants_of("models.features")))
    answers = [(mutant, "survived"), (mutant, "features: sizes")]
    assert drill.unexplained(answers) == [mutant]
    assert "| all | 2 | 1 | 0 | 1 |" in list(drill.table(answers))
    monkeypatch.setitem(drill.EQUIVALENT, mutant.key, "a reason")
    assert drill.unexplained(answers) == []
    assert "| all | 2 | 1 | 1 | 0 |" in list(drill.table(answers))


def test_modules_and_cases_are_there():
    known = set(drill.vector_cases.CASES)
    for module, cases in drill.MODULES.items():
        assert set(cases) <= known, module
        assert (drill.ROOT / f"{module.replace('.', '/')}.py").exists(), module
    keys = [mutant.key for module in drill.MODULES for mutant in drill.mutants_of(module)]
    assert len(keys) == len(set(keys)) > 2000
    assert set(drill.EQUIVALENT) <= set(keys)  # a reason for a mutant that is no more goes with it
