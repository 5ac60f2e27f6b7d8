"""Every reference to a specification or a note names a page, and headings of it, that are there.

CONTRIBUTING.md says the rule: `specs/xclip-adaclip.md A1.4` is heading A1.4 of that page of docs/.
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reelvec.storage.corpora.benchmarks.published import PUBLISHED

ROOT = Path(__file__).parents[1]
PAGES = {
    f"{page.parent.name}/{page.name}": page
    for folder in ("specs", "notes")
    for page in (ROOT / "docs" / folder).glob("*.md")
}
TEXTS = {".py", ".yaml", ".yml", ".md", ".toml"}

SECTION = r"(?>[A-Z]?\d+(?:\.\d+)*|[A-Z])(?!\w)"
HEADING = re.compile(rf"^#+ (?:Part )?({SECTION})[. ]", re.MULTILINE)
REFERENCE = re.compile(
    rf"(?<![\w/.-])(?:docs/)?((?:specs|notes)/[\w-]+\.md)`?"
    rf"((?:(?: |, | and | to ){SECTION})*)"
    r"((?:,? |[-–])[A-Za-z]?\d[\w.]*)?"  # what looks like a heading's number but is none
)
LOOSE = re.compile(
    r"\bDESIGN\b"  # what became docs/architecture.md
    r"|\b(?:specs?|notes|sections?):?,? (?:section )?[A-Z]?\d"
    r"|\bspecs:? [A-Z]"
    r"|\((?:[A-Z]\d+(?:\.\d+)*|\d\.\d+(?:\.\d+)*)\)"
)
"""Words and numbers that point into a page without naming it, in comments and docstrings."""
BARE_PAGE = re.compile(
    rf"(?<!specs/)(?<!notes/)\b(?:{'|'.join(p.stem for p in PAGES.values())})\.md"
)


def tracked() -> list[Path]:
    """Text files under version control, links left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [f for f in files if f.suffix in TEXTS and f.is_file() and not f.is_symlink()]


@cache
def headings(page: Path) -> set[str]:
    return set(HEADING.findall(page.read_text(encoding="utf-8")))


def wrong_references(text: str) -> Iterator[str]:
    """References of a text, its lines joined, whose page or heading is not there."""
    for found in REFERENCE.finditer(re.sub(r"\s*\n[ \t]*#?[ \t]*", " ", text)):
        name, sections, more = found.groups()
        if name not in PAGES:
            yield f"{name}: no such page below docs/"
            continue
        numbers = re.findall(SECTION, sections) + ([more.strip()] if more else [])
        yield from (
            f"{name} {n}: no such heading" for n in numbers if n not in headings(PAGES[name])
        )


def loose(file: Path) -> list[str]:
    """What points into a page without naming it: in comments and docstrings, in all of a YAML."""
    text = file.read_text(encoding="utf-8")
    found = _loose(text)
    if not found or file.suffix != ".py":
        return found
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    words = (
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and '"""' in token.string)
    )
    return _loose("\n".join(words))


def _loose(text: str) -> list[str]:
    return [found[0] for pattern in (LOOSE, BARE_PAGE) for found in pattern.finditer(text)]


CODE = [f for f in tracked() if f.suffix in {".py", ".yaml", ".yml"} and f != Path(__file__)]


def test_pages_are_found():
    assert {"specs/xclip-adaclip.md", "notes/decoding-and-stores.md"} <= set(PAGES)
    assert {"A", "A1.4", "B1.2", "9"} <= headings(PAGES["specs/xclip-adaclip.md"])


def test_every_reference_names_a_page_and_its_headings():
    files = [f for f in tracked() if f != Path(__file__)]
    wrong = [
        f"{file.relative_to(ROOT)}: {problem}"
        for file in files
        for problem in wrong_references(file.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(len(REFERENCE.findall(f.read_text(encoding="utf-8"))) for f in CODE) > 100


def test_no_reference_leaves_its_page_out():
    found = [f"{f.relative_to(ROOT)}: {x!r} names no page" for f in CODE for x in loose(f)]
    assert not found, "\n".join(found)


def test_what_commands_print_names_pages_that_are_there():
    """Sources of published numbers, put together when they are shown."""
    sources = [split.source for splits in PUBLISHED.values() for split in splits.values()]
    assert sum(bool(REFERENCE.search(source)) for source in sources) > 15
    assert [p for source in sources for p in wrong_references(source)] == []


def test_only_the_real_clips_and_server_lie_outside_the_repository():
    known = r"(?!data/clips|tools/s3-real-server)"
    outside = re.compile(rf"""(\.\./|["'])shared/{known}|\.\./shared(?!/)|/ ["']shared["']""")
    found = [
        f"{file.relative_to(ROOT)}:{number} {line.strip()}"
        for file in tracked()
        if file != Path(__file__)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if outside.search(line)
    ]
    assert found == []


OWN = re.compile(r"\(([AB]?[1-9]\.\d+(?:, [AB]?[1-9]\.\d+)*)\)")
"""Headings in brackets, as the specifications refer to themselves."""


@pytest.mark.parametrize("name", [name for name in sorted(PAGES) if name.startswith("specs/")])
def test_specifications_refer_to_their_own_headings(name):
    text = PAGES[name].read_text(encoding="utf-8")
    known = headings(PAGES[name])
    assert [s for found in OWN.findall(text) for s in found.split(", ") if s not in known] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("specs/xclip-adaclip.md A1.4", None),
        ("(docs/specs/xclip-adaclip.md A2.2 to A2.5,\n# A3)", None),
        ("`notes/decoding-and-stores.md`", None),
        ("specs/xclip-adaclip.md A1.44", "A1.44: no such heading"),
        ("specs/xclip-adaclip.md A1.4 and\n    B9", "B9: no such heading"),
        ("specs/xclip-adaclip.md A1.4x", "A1.4x: no such heading"),
        ("specs/xclip-adaclip.md a1.4", "a1.4: no such heading"),
        ("specs/xclip-adaclip.md A1.4-A1.9", "-A1.9: no such heading"),
        ("specs/xclip-adaclip.md, 7", "7: no such heading"),
        ("specs/xclip-adclip.md A1.4", "no such page"),
        ("docs/notes/decoding.md 1.1", "no such page"),
    ],
)
def test_a_wrong_reference_is_seen(text, problem):
    found = " ".join(wrong_references(text))
    assert problem in found if problem else not found


@pytest.mark.parametrize(
    "text",
    ["(spec 7.2)", "specs B1.6", "(notes, section 5)", "DESIGN section 2", "of words (A1.4)",
     "alike (2.4).", "xclip-adaclip.md A5", "Sources: specs CLIP4Clip 3.3", "(specs: CLIP4Clip 6)"],
)  # fmt: skip
def test_a_reference_without_its_page_is_seen(tmp_path, text):
    for name, content in (
        ("a.py", f"x = 1  # {text}"),
        ("b.py", f'"""{text}"""'),
        ("c.yaml", text),
    ):
        (tmp_path / name).write_text(content)
        assert loose(tmp_path / name), name
    (tmp_path / "d.py").write_text(f"x = {text!r}, f(2.5)")
    assert loose(tmp_path / "d.py") == []
