"""Captions on disk beyond a chunk: as a list would be, in memory that does not grow with them."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.configs.schema import FolderCorpus
from reelvec.storage.corpora import caption_list, open_corpus
from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    Caption,
    records_from_table,
    records_to_table,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
CAPTIONS = st.lists(st.builds(Caption, TEXTS, TEXTS, TEXTS, TEXTS), max_size=20)


def filled(captions, chunk, columns=0):
    """One after another, every so many of them as columns."""
    found = CaptionList(chunk=chunk)
    for number in range(0, len(captions), columns + 1):
        found.append(captions[number])
        some = captions[number + 1 : number + 1 + columns]
        found.extend(records_to_table(some, schema=CAPTION_SCHEMA))
    return found


@settings(max_examples=60, deadline=None)
@given(CAPTIONS, st.integers(1, 6), st.integers(0, 9), st.slices(20))
def test_as_a_list(captions, chunk, columns, part):
    found = filled(captions, chunk, columns)
    assert len(found) == len(captions)
    assert list(found) == captions
    assert list(found) == captions, "a second reading gives the same"
    assert [found[n] for n in range(-len(captions), len(captions))] == captions * 2
    assert found[part] == captions[part]
    assert found.spilled == (len(captions) > chunk)
    assert found[::-1][part] == captions[::-1][part]
    tables = list(found.tables())
    assert [row for t in tables for row in records_from_table(t, record=Caption)] == captions
    assert [t.num_rows for t in tables[:-1]] == [chunk] * (len(tables) - 1)
    for beyond in (len(captions), -len(captions) - 1):
        with pytest.raises(IndexError, match=f"caption {beyond} of {len(captions)}"):
            found[beyond]


def test_readers_at_once_and_appending_between():
    captions = [Caption(f"v#{n}", "v", f"text {n}") for n in range(10)]
    found = filled(captions[:7], 3)
    one, two = iter(found), iter(found)
    assert [next(one), next(two), next(one)] == [captions[0], captions[0], captions[1]]
    for caption in captions[7:]:
        found.append(caption)
    assert list(found) == captions


def test_the_file_goes_with_the_list(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = filled([Caption("v#0", "v", "text")] * 5, 2)
    assert os.listdir(tmp_path) == []  # it never had a name
    descriptor = found._file.fileno()
    del found
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_large_folder_corpus_reads_as_a_small_one(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"")
    rows = [{"video_id": f"v{n % 7}", "caption": f"caption {n}"} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    config = FolderCorpus(videos=str(tmp_path), captions=str(tmp_path / "c.parquet"))
    small = open_corpus(config, store_dir=tmp_path).read()
    monkeypatch.setattr(caption_list.CaptionList.__init__, "__kwdefaults__", {"chunk": 9})
    large = open_corpus(config, store_dir=tmp_path).read()
    assert [listing.captions.spilled for listing in (small, large)] == [False, True]
    assert large.captions == small.captions
    assert large.videos == small.videos


PEAK = """
import sys
from pathlib import Path
from reelvec.configs.schema import FolderCorpus
from reelvec.storage.corpora import open_corpus
folder = sys.argv[1]
reader = open_corpus(FolderCorpus(videos=folder, captions=sys.argv[2]), store_dir=folder)
listing = reader.read()
assert sum(1 for caption in listing.captions if caption.text) == int(sys.argv[3])
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2]  # ru_maxrss: the parent's too
print(int(peak.split()[0]) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_captions(tmp_path):
    (tmp_path / "0.mp4").write_bytes(b"")
    peaks = {}
    for n in (400_000, 1_000_000):  # a plateau: some 260,000 rows wait to be told apart
        file = tmp_path / f"{n}.parquet"
        table = {"video_id": [str(i % 1000) for i in range(n)], "caption": ["some text"] * n}
        pq.write_table(pa.table(table), file)
        run = [sys.executable, "-c", PEAK, str(tmp_path), str(file), str(n)]
        root = Path(__file__).parents[3]
        peaks[n] = int(subprocess.run(run, check=True, capture_output=True, cwd=root).stdout)
    assert peaks[1_000_000] - peaks[400_000] < 20, f"{peaks} MiB"
