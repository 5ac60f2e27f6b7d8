"""docs/extending.md: its examples, put into a copy of the repository, pass the contracts there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.timeout(1000)  # half a minute alone; these tests share the machine

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
CODE = ("flows", "tasks", "storage", "models", "configs", "reelvec")
BLOCK = re.compile(r"^```(python|yaml|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:\w+/)+\w+\.(?:py|yaml))`")


def files(page):
    """{path: content} of the blocks that are whole files: the last path named before each."""
    found = {}
    for block in BLOCK.finditer(page):
        if block[1] != "diff":
            before = page[: block.start()].rpartition("\n\n")[0].rpartition("\n\n")[2]
            found[NAMED.findall(before)[0]] = block[2]
    return found


def changes(page):
    """(lines there, lines instead) of each diff block."""
    for kind, text in BLOCK.findall(page):
        if kind == "diff":
            lines = text.splitlines(keepends=True)
            yield tuple("".join(x[1:] for x in lines if x[0] in sides) for sides in (" -", " +"))


def change(folder, old, new):
    """Replace `old` in the files of the copy that hold it: two may declare the same option."""
    modules = [path for name in CODE[:-1] for path in (folder / name).rglob("*.py")]
    holders = {path: text for path in modules if old in (text := path.read_text("utf-8"))}
    assert holders, f"no file holds these lines any more; correct docs/extending.md:\n{old}"
    for path, text in holders.items():
        assert text.count(old) == 1, f"{path} holds these lines twice:\n{old}"
        assert f"`{path.relative_to(folder)}`" in PAGE, f"the page does not name {path}"
        path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with everything the page adds."""
    folder = tmp_path_factory.mktemp("extended")
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    ignored = shutil.ignore_patterns("resources", "__pycache__", "drills", "benchmarks")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, content in files(PAGE).items():
        assert not (folder / path).exists(), f"{path} is the name of a module that is there"
        (folder / path).write_text(content, "utf-8")
    for old, new in changes(PAGE):
        change(folder, old, new)
    return folder


def run(*words, folder):
    """A Python program that sees the copy's code, and no other's."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-P", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_the_page_holds_what_it_promises():
    found = files(PAGE)
    assert sum(path.startswith("tests/") for path in found) == 4
    assert len(found) == 9
    assert len(list(changes(PAGE))) == 10


def test_the_examples_keep_the_contracts(extended):
    tests = [path for path in files(PAGE) if path.startswith("tests/")]
    done = run("-m", "pytest", "-q", *tests, "tests/configs/test_corpora.py", folder=extended)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 40, done.stdout


def test_the_house_rules_hold_for_them(extended):
    ours = [path for path in files(PAGE) if path.endswith(".py")]
    for tool in ("check", "format --check"):
        done = run("-m", "ruff", *tool.split(), *ours, folder=extended)
        assert done.returncode == 0, done.stdout


def test_a_new_reader_can_be_checked(extended, tmp_path):
    (tmp_path / "train.tsv").write_text("a\tA cat sleeps.\n")
    (tmp_path / "test.tsv").write_text("b\tA dog runs.\n")
    words = ("corpus", "check", "shelf", "--root", str(tmp_path))
    done = run("-m", "reelvec.flows.cli", *words, folder=extended)
    assert (done.returncode, done.stderr) == (1, "")  # 1: both videos are missing
    assert "the page of the dataset" in done.stdout


def test_the_preset_is_found(extended):
    given = yaml.safe_load(files(PAGE)["configs/presets/positions.yaml"])
    look = "from reelvec.configs import load; print(load('positions').model)"
    done = run("-c", look, folder=extended)
    assert done.returncode == 0, done.stderr
    assert f"family='{given['model']['family']}'" in done.stdout
