"""docs/bring-your-own.md: each example is made as written, read, and gives the table under it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from reelvec.configs import load
from reelvec.storage.corpora import open_corpus
from reelvec.tasks.runs.preflight import check_config

PAGE = Path(__file__).parents[1] / "docs" / "bring-your-own.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^`([\w./-]+)`[^`\n]*:\n\n```(?:csv|tsv|jsonl|json)\n(.*?)^```$", re.M | re.S)
ROW = re.compile(r"^\| (\S+) \| (\S+) \| (\d+) \|$", re.MULTILINE)

EXAMPLES = {
    title: text for title, text in SECTION.findall(PAGE.read_text("utf-8")) if "```yaml" in text
}


def make(text, folder):
    """Put an example's files below `folder`; the path of its config."""
    blocks = BLOCK.findall(text)
    for kind, content in blocks:
        if kind == "files":
            for name in content.split():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(name.encode())
        if kind == "python":
            exec(content, {})  # noqa: S102 - the page's own lines, in an empty folder
    for name, content in NAMED.findall(text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (config,) = [content for kind, content in blocks if kind == "yaml"]
    (folder / "mine.yaml").write_text(config, encoding="utf-8")
    return folder / "mine.yaml"


def test_all_examples_are_found():
    assert len(EXAMPLES) == 8
    assert all(len(ROW.findall(text)) > 1 for text in EXAMPLES.values())


@pytest.mark.parametrize("title", EXAMPLES)
def test_reads_as_the_page_says(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(make(EXAMPLES[title], tmp_path))
    check_config(config)
    listing = open_corpus(config.corpus, store_dir=tmp_path).read()
    captions = Counter(caption.video_id for caption in listing.captions)
    found = [(v.video_id, v.split or "(every)", str(captions[v.video_id])) for v in listing.videos]
    assert found == ROW.findall(EXAMPLES[title])
    assert all(Path(video.path).exists() for video in listing.videos)


def test_windows_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(make(EXAMPLES["Pieces of long files"], tmp_path))
    listing = open_corpus(config.corpus, store_dir=tmp_path).read()
    assert [(v.start_seconds, v.end_seconds) for v in listing.videos] == [(0.0, 12.5), (12.5, None)]
