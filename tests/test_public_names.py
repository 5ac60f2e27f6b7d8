"""`__all__` is what other modules may import: all of it is there and used, and nothing else is.

What a module keeps for itself may have any name; a test may reach for it, other modules may not.
"""

import ast
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("configs", "storage", "models", "tasks", "flows")
API = ROOT / "reelvec"
"""Its names are for users: what is in `__all__` there needs no user among our modules."""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] in ("reelvec", "tests") else ("reelvec", *parts)
    return ".".join(parts).removesuffix(".__init__")


def files(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


API_FILES = [path for path in files("reelvec") if path.parent.resolve().is_relative_to(API)]
MODULES = {module_name(path): path for path in [*files(*FOLDERS), *API_FILES]}


@cache
def tree(path):
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def declared(path):
    """The names of the module's `__all__`, or None."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [element.value for element in node.value.elts]
    return None


def bound(path):
    """Every name the module binds at its top: definitions, assignments, imports."""
    return bound_by(tree(path).body)


def bound_by(body):
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {part.id for part in ast.walk(node) if is_stored(part)}
        elif isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            names |= bound_by(node.body)  # the public API, whose names are imported when used
    return names


def is_stored(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def uses(path):
    """(module, name) of everything of ours that a file imports, by name or as `module.name`."""
    aliases, found = {}, set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    aliases[alias.asname or alias.name] = whole
                else:
                    found.add((node.module, alias.name))
        elif isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):  # over modules
            modules = [aliases.get(getattr(part, "id", "")) for part in node.iter.elts]
            attributes = [part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)]
            found |= {(module, name) for module in modules for name in attributes if module}
        if isinstance(node, ast.Attribute):
            whole = dotted(node.value)
            found.add((aliases.get(whole, whole), node.attr))
    return found | named_in_text(path)


def dotted(node):
    """`a.b.c` as text; "" for anything but names and dots."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def named_in_text(path):
    """(module, name) given as text: in a table ("a.b", "Class"), or as "a.b:function"."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Tuple) and all(isinstance(n, ast.Constant) for n in node.elts):
            found |= set(pairwise(n.value for n in node.elts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, _, name = node.value.partition(":")
            found.add((module, name))
    return {(module, name) for module, name in found if module in MODULES and name}


def in_signatures(path):
    """Names in annotations and base classes: types that whoever uses the module meets."""
    marks = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            marks.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            marks += node.bases
    names = [part for mark in marks if mark is not None for part in ast.walk(mark)]
    return {part.id for part in names if isinstance(part, ast.Name)}


def users():
    """{(module, name): files of ours that use it}; the installation counts as one."""
    found = defaultdict(set)
    for path in [*MODULES.values(), *files("tests")]:
        for module, name in uses(path):
            if module in MODULES and MODULES[module] != path:
                found[module, name].add(module_name(path))
    found["reelvec.flows.cli", "main"].add("the installation")
    return found


@pytest.fixture(scope="module")
def known():
    return users()


def test_every_module_with_names_declares_them():
    silent = [name for name, path in MODULES.items() if declared(path) is None and bound(path)]
    assert silent == []


def test_what_is_declared_is_there_once():
    for name, path in MODULES.items():
        names = declared(path) or []
        assert len(names) == len(set(names)), name
        assert set(names) <= bound(path), name


def test_what_others_import_is_declared(known):
    """Names of ours only, private ones too: a leading underscore is never imported elsewhere."""
    hidden = sorted(
        f"{module}.{name} by {', '.join(sorted(others))}"
        for (module, name), by in known.items()
        if (others := {user for user in by if not user.startswith("tests.")})
        and name in bound(MODULES[module])
        and name not in (declared(MODULES[module]) or ())
        and f"{module}.{name}" not in MODULES
    )
    assert hidden == []


def test_functions_and_classes_that_are_declared_are_used(known):
    """By another module, by a test, or as a type in a signature; in `reelvec` itself by users."""
    idle = sorted(
        f"{module}.{name}"
        for module, path in MODULES.items()
        if path not in API_FILES
        for name in set(declared(path) or ()) - in_signatures(path)
        if not known[module, name] and not name.isupper() and name != "main"
    )
    assert idle == []
