"""House rules, kept by tests: where things live, how large they are, who may import whom."""

import ast
import functools
import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest

from reelvec.models.registry import FAMILIES

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "storage", "models", "configs")
MODULES = sorted(
    path
    for files in [
        *((ROOT / package).rglob("*.py") for package in PACKAGES),
        (ROOT / "reelvec").glob("*.py"),
        (ROOT / "reelvec" / "api").rglob("*.py"),
    ]
    for path in files
)
#: modules over a budget, each with its reason beside it in the module's docstring
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 300, 40, 6


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path):
    return [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def body_lines(function):
    """Lines of a function's body without its docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_come_from_this_checkout(package):
    found = Path(importlib.import_module(f"reelvec.{package}").__file__).resolve()
    assert found.is_relative_to(ROOT), f"{package} is imported from {found}: another wheel ships it"


def test_code_is_imported_as_reelvec_alone():
    """Seen from the checkout `storage` is importable too: a second copy of every class."""
    offenders = []
    for path in [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]:
        for node in ast.walk(tree(path)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            offenders += [
                f"{name(path)}:{node.lineno} {found}"
                for found in names
                if found.partition(".")[0] in PACKAGES
            ]
    assert offenders == []


def test_reelvec_links_to_the_five_folders():
    """`reelvec/` holds the public API and a relative link to each folder, as git stores them."""
    links = {
        p.name: p.readlink().as_posix() for p in (ROOT / "reelvec").iterdir() if p.is_symlink()
    }
    assert links == {package: f"../{package}" for package in PACKAGES}
    assert (ROOT / ".editable" / "reelvec").readlink().as_posix() == "../reelvec"


def test_no_module_takes_a_name_that_belongs_to_another():
    """A path entrypoint puts a package's folder first on sys.path: such a module would shadow."""
    taken = set(PACKAGES) | {"tests"} | set(sys.stdlib_module_names)
    taken |= set(importlib.metadata.packages_distributions()) - set(PACKAGES)
    clashes = [name(p) for p in MODULES if p.stem in taken and p.stem != "__init__"]
    assert clashes == []


def test_every_test_folder_is_a_package():
    folders = {p.parent for p in (ROOT / "tests").rglob("*.py")}
    assert [name(f) for f in folders if not (f / "__init__.py").exists()] == []


def test_test_folders_mirror_the_code():
    """What tests a room lies in the folder of its name."""
    folders = {p.parent for package in PACKAGES for p in (ROOT / "tests" / package).rglob("*.py")}
    rooms = {name(path.parent) for path in MODULES}
    assert [name(f) for f in folders if f.relative_to(ROOT / "tests").as_posix() not in rooms] == []


def test_only_the_engine_imports_prefect_tasks():
    """One door to the task engine; flows import flows, runners and artifacts, never `task`."""
    offenders = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "prefect"
            ):
                continue
            names = {alias.name for alias in node.names}
            if names & {"task", "Task"} and name(path) != "tasks/engine.py":
                offenders.append(name(path))
            if name(path).startswith("tasks/") and name(path) != "tasks/engine.py":
                offenders.append(name(path))
    assert offenders == []


def test_unmapped_stands_only_inside_map():
    """`unmapped(x)` outside `.map(...)` is passed on as an object nobody unwraps."""
    offenders = []
    for path in MODULES:
        module = tree(path)
        inside = {
            id(node)
            for call in ast.walk(module)
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "map"
            for node in ast.walk(call)
        }
        offenders += [
            f"{name(path)}:{node.lineno}"
            for node in ast.walk(module)
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "unmapped"
            and id(node) not in inside
        ]
    assert offenders == []


def test_no_assert_no_global_outside_tests():
    """`python -O` removes assert; a global is state nobody passed."""
    offenders = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert | ast.Global)
    ]
    assert offenders == []


def test_everything_is_annotated():
    offenders = []
    for path in MODULES:
        for function in functions(path):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            bare = [
                a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")
            ]
            if bare or function.returns is None:
                offenders.append(f"{name(path)}:{function.lineno} {function.name} {bare}")
    assert offenders == []


def test_module_budget():
    long = {name(p): len(p.read_text().splitlines()) for p in MODULES}
    assert {k: v for k, v in long.items() if v > MODULE_LINES} == {}


def test_function_budget():
    long = {
        f"{name(p)}:{f.name}": body_lines(f)
        for p in MODULES
        for f in functions(p)
        if body_lines(f) > FUNCTION_LINES
    }
    assert long == {}


def test_code_folders_hold_code():
    """Weights and tables live in a store; a `.pt` dropped into models/ would be shipped."""
    allowed = {".py", ".yaml", ".json", ".html", ".css", ".js", ".svg", ".typed", ".gz", ".LICENSE"}
    files = [p for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file()]
    strays = [name(p) for p in files if p.suffix not in allowed and "__pycache__" not in p.parts]
    assert strays == []


def test_no_family_is_named_outside_models():
    """Families differ in `models` alone; a name elsewhere would be a special case in disguise.

    Left out: configs (a default, and presets), and storage.corpora, where AdaCLIP's annotation
    files are a kind of corpus.
    """
    offenders = [
        f"{name(path)}:{node.lineno} {node.value}"
        for path in MODULES
        if not name(path).startswith(("models/", "configs/", "storage/corpora/"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value in FAMILIES
    ]
    assert offenders == []


#: who writes to a standard stream that is no terminal, and what it is
PIPES = {
    "storage/sandbox/worker.py": "stderr of a worker is a file whose end its owner quotes",
    "tasks/training/events.py": "stdout of a training process is a pipe of JSON lines",
}


def test_one_module_prints():
    """What it prints may hold a file's name: one place escapes what a terminal would obey."""
    offenders = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        if name(path) not in {"flows/console/output.py", *PIPES}
        for node in ast.walk(tree(path))
        if _prints(node)
    ]
    assert offenders == []


def _prints(node):
    """A call of print, echo, secho or Console, or a standard stream by name."""
    if isinstance(node, ast.Call):
        if getattr(node.func, "id", "") in ("print", "pprint"):
            return True
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return called in ("echo", "secho", "Console")
    stream = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "sys"
    return stream and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__")
