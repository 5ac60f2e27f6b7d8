"""The documents hold together: links, anchors, paths and modules they name are there."""

import re
from functools import cache
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from reelvec.configs.schema import PipelineConfig
from reelvec.flows.commands.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
CODE = ("configs", "storage", "models", "tasks", "flows", "reelvec")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
PATH = re.compile(r"`((?:docs|tests|\.github|" + "|".join(CODE) + r")/[\w./-]+)[^`]*`")
COMMAND = re.compile(r"`(reelvec [^`]+)`|^ *(?:\S+/)?(reelvec (?:\\\n|[^#\n])+)", re.MULTILINE)
PROGRAM = re.compile(r"python -m (tests(?:\.[a-z_0-9]+)+)((?: (?!\|)[^`\n#|]+)?)")
OPTION = re.compile(r"(--[a-z][a-z-]*)")
KEY = re.compile(r"`((?:extract|train|embed|evaluate|gate|compaction)(?:\.[a-z_]+)+)\b[^`]*`")
MODULE = re.compile(
    r"\b((?:tests|reelvec\.(?:" + "|".join(CODE[:-1]) + r"))(?:\.[a-z_][a-z0-9_]*)+)\b"
)
NEW = {
    name
    for name in PATH.findall((ROOT / "docs" / "extending.md").read_text("utf-8"))
    if re.search(r"shelf|pairs|positions|in_order", name)
}
"""Files that docs/extending.md tells its reader to write; tests/test_extending.py does."""


def prose(page):
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page):
    """Fragments of the page's headings, as GitHub makes them."""
    found = set()
    for heading in HEADING.findall(prose(page)):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = sum(slug == other.rpartition("-")[0] or slug == other for other in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found


def links(page):
    return [a or b for a, b in LINK.findall(prose(page))]


def page_id(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https" and "." in parts.netloc, link
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.is_relative_to(ROOT) and target.exists(), f"{link}: no such file"
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{link}: no heading of {target.name}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_paths_in_the_text_are_there(page):
    named = [name.rstrip("/.") for name in PATH.findall(prose(page))]
    placeholder = re.compile(r"\b[A-Z]{4,}\b")
    gone = [n for n in named if not (ROOT / n).exists() and not placeholder.search(n)]
    assert set(gone) <= NEW


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_modules_in_the_text_are_there(page):
    """`reelvec.a.b.C` and `python -m tests.x`: a module, or what a module holds, also in code."""
    for name in MODULE.findall(page.read_text("utf-8")):
        path = ROOT / name.replace(".", "/")
        if f"{name.removeprefix('reelvec.').replace('.', '/')}.py" in NEW:
            continue
        assert path.with_suffix(".py").exists() or path.is_dir() or holds(name), name


def holds(name):
    """Whether the module before the last dot defines the name after it (nothing is imported)."""
    module, _, attribute = name.rpartition(".")
    folder = ROOT / module.replace(".", "/")
    for path in (folder.with_suffix(".py"), folder / "__init__.py"):
        if path.exists() and re.search(rf"\b{attribute}\b", path.read_text("utf-8")):
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_options_in_the_text_are_there(page):
    """`reelvec WORDS --option`, inline or a line of a block: a command, and options it takes."""
    for found in COMMAND.findall(page.read_text("utf-8")):
        words = "".join(found).replace("\\\n", " ").split()[1:]
        command = whole_command()
        while words and words[0].strip(".,;") in getattr(command, "commands", {}):
            command = command.commands[words.pop(0).strip(".,;")]
        options = {
            name for given in command.params for name in (*given.opts, *given.secondary_opts)
        }
        options |= {"-h", "--help"}
        named = {word.strip("[](),;…").partition("=")[0] for word in words if word.startswith("--")}
        assert named <= options, f"reelvec {command.name}: {named - options}"
        is_word = words and re.fullmatch(r"[a-z][a-z-]*", words[0])
        assert not is_word or not hasattr(command, "commands"), f"no such command: {words[0]}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_of_our_own_programs_are_there(page):
    """`python -m tests.x --option`: a program whose text has the option."""
    for module, words in PROGRAM.findall(page.read_text("utf-8")):
        path = ROOT / module.replace(".", "/")
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        text = path.read_text("utf-8")
        missing = [word for word in OPTION.findall(words) if f'"{word}"' not in text]
        assert not missing, f"{module}: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_keys_of_a_configuration_in_the_text_are_there(page):
    files = {".json", ".tsv", ".csv", ".py", ".yaml"}
    for key in KEY.findall(prose(page)):
        if Path(key).suffix not in files:
            assert is_key(key), key


@cache
def whole_command():
    """`reelvec` itself, with its commands."""
    return get_command(app)


def is_key(dotted):
    """Whether a run has this key: each part names a field of the group before it."""
    kinds = [PipelineConfig]
    for part in dotted.split("."):
        fields = next((kind.model_fields for kind in kinds if part in kind.model_fields), None)
        if fields is None:
            return False
        kind = fields[part].annotation
        kinds = [one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields")]
    return True


def test_every_page_is_reached_from_the_readme():
    reached, new = set(), {ROOT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        targets = {(page.parent / urlsplit(x).path).resolve() for x in links(page) if ":" not in x}
        targets |= {listed for folder in targets if folder.is_dir() for listed in folder.iterdir()}
        new |= {t for t in targets if t.suffix == ".md"} - reached
    assert [page_id(p) for p in PAGES if p not in reached and ".github" not in p.parts] == []


def test_the_rooms_are_these():
    """The table of docs/architecture.md names every folder that holds modules, and no other."""
    table = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"^\| `([\w/]+)` \| \S.* \|$", table, flags=re.MULTILINE)
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for code in CODE
        for path in (ROOT / code).rglob("*.py")
        if not (ROOT / code / path.parent.name).is_symlink()
    }
    assert len(named) == len(set(named))
    assert set(named) == folders


def test_words_of_make_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    words = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for page in PAGES:
        code = re.findall(r"`make ([a-z]+)[^`]*`", prose(page))
        for block in re.findall(r"^```.*?^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            code += re.findall(r"^\$? ?make ([a-z]+)", block, flags=re.MULTILINE)
        assert set(code) <= words, page
