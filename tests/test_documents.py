"""The documents hold together: links, anchors, paths and modules they name are there."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/**/*.md")])
CODE = ("configs", "storage", "models", "tasks", "flows", "reelvec")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
PATH = re.compile(r"`((?:docs|tests|\.github|" + "|".join(CODE) + r")/[\w./-]+)[^`]*`")
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
