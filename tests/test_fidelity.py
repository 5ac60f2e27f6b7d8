"""docs/fidelity.md, row by row: the tests and the switches that it names are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from reelvec.configs import PipelineConfig
from reelvec.models.errors import OptionsError
from reelvec.models.registry import FAMILIES, validate_options
from reelvec.models.sampling.rules import POLICIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
CODE = re.compile(r"`([^`]+)`")
ROW_SETTING = re.compile(r"([a-z_.]+): (.+)")


def tables():
    """(header cells, rows of cells) of each table."""
    for block in re.findall(r"(?:^\|.*\|\n)+", PAGE, flags=re.MULTILINE):
        rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in block.splitlines()]
        yield [cell.strip() for cell in rows[0]], rows[2:]


def cells(column):
    """That cell of every row of the tables that have it, with what the row is about."""
    for header, rows in tables():
        if column in header:
            yield from ((row[0], row[header.index(column)]) for row in rows)


@cache
def defined(path):
    """Names of a file's tests, those of classes as Class::test."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            inner = (part.name for part in node.body if isinstance(part, ast.FunctionDef))
            found |= {f"{node.name}::{name}" for name in inner}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def test_every_row_says_which_test_holds_it():
    counts = []
    for header, rows in tables():
        assert header[-1] == "test", header
        assert all(len(row) == len(header) for row in rows), rows
        counts.append(len(rows))
    assert len(counts) == 7 and sum(counts) > 55
    for subject, named in cells("test"):
        found = TEST.findall(named)
        assert found or named == "none", subject
        assert ", ".join(f"`{path}::{name}`" for path, name in found) == named.replace("none", "")


def test_the_tests_it_names_are_there():
    for subject, named in cells("test"):
        for path, name in TEST.findall(named):
            assert (ROOT / path).is_file(), f"{subject}: no {path}"
            assert name in defined(ROOT / path), f"{subject}: no {name} in {path}"
            assert name.rpartition("::")[2].startswith("test_"), name


def settings(switch):
    """(key, value) of each setting in a cell; what follows one without a key is another value."""
    key = ""
    for code in CODE.findall(switch):
        setting = ROW_SETTING.fullmatch(code)
        if setting:
            key = setting[1]
            yield key, setting[2]
        elif "." not in code and key:
            yield key, code
        else:
            yield code, None


def accepted(key, value):
    """Whether a run, or a family, takes this setting."""
    group, _, name = key.rpartition(".")
    if not group:
        return any(takes(family, name, value) for family in FAMILIES)
    given = yaml.safe_load(value) if value is not None else None
    if key == "sampling.policy":
        return given in POLICIES
    if given is None:
        return name in type(getattr(PipelineConfig(), group)).model_fields
    try:
        PipelineConfig.model_validate({group: {name: given}})
    except ValidationError:
        return False
    return True


def takes(family, name, value):
    try:
        validate_options(family, {name: yaml.safe_load(value or "")})
    except OptionsError:
        return False
    return True


def test_the_switches_it_names_are_there():
    for subject, switch in cells("switch"):
        named = list(settings(switch))
        assert named or switch == "none", subject
        for key, value in named:
            assert accepted(key, value), f"{subject}: {key}: {value}"
    assert sum(switch != "none" for _, switch in cells("switch")) > 15


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.negatives", "nobody"), ("train.negative", "batch"), ("sampling.policy", "odd"),
     ("batch_norm", "odd"), ("evaluate.tie", None), ("mask_layouts", "legacy")],
)  # fmt: skip
def test_a_switch_that_is_not_there_is_seen(key, value):
    assert not accepted(key, value)
