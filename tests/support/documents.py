"""The commands of a page, in their order, and the files it shows."""

import re

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BY_COMPOSE = "## With compose"


def fenced(text):
    """Blocks of code: (language, text)."""
    return FENCE.findall(text)


def commands(text):
    """Lines of a shell, one each, whatever lines they were written on."""
    blocks = [block for language, block in fenced(text) if language in ("bash", "sh")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def by_hand(page):
    """The text of a page without what needs docker."""
    text = page.read_text("utf-8")
    before, _, after = text.partition(BY_COMPOSE)
    return before + after.partition("\n## ")[2]


def write_files(text, folder):
    """Writes the YAML files whose name stands on their first line."""
    for language, block in fenced(text):
        named = re.match(r"# ([\w/]+\.yaml)\n", block)
        if language == "yaml" and named:
            file = folder / named[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(block)
