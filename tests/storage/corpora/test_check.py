"""The check of a benchmark's files."""

import time

import pytest

from reelvec.storage.corpora.benchmarks.published import OBTAIN, PUBLISHED
from reelvec.storage.corpora.check import Overlap, check_corpus
from reelvec.storage.corpora.registry import BENCHMARKS, reader_class
from reelvec.storage.errors import CorpusError
from tests.storage.corpora.test_benchmarks import with_real_splits
from tests.support.corpus_layouts import LAYOUTS, Item, some_items, write_layout


def check(kind, layout):
    return check_corpus(kind, videos=layout.config.videos, annotations=layout.config.annotations)


def test_real_msrvtt_counts_and_overlaps(tmp_path):
    start = time.process_time()
    found = check("msrvtt", with_real_splits(tmp_path, "msrvtt", "full"))
    assert time.process_time() - start < 10
    counts = {(s.protocol, s.split): (s.videos, s.missing_videos) for s in found.splits}
    assert counts == {
        ("9k", "train"): (9000, 9000),
        ("9k", "test"): (1000, 1000),
        ("7k", "train"): (7010, 7010),
        ("7k", "test"): (1000, 1000),
        ("full", "train"): (6513, 6513),
        ("full", "val"): (497, 497),
        ("full", "test"): (2990, 2990),
    }
    overlaps = {(o.one, o.other): o.videos for o in found.overlaps}
    assert overlaps[("9k", "train"), ("full", "test")] == 1990
    assert (("7k", "train"), ("full", "test")) not in overlaps
    assert overlaps[("7k", "train"), ("full", "val")] == 497
    assert not found.complete and found.problems == ()
    as_published = {(s.protocol, s.split): s.as_published for s in found.splits}
    assert as_published["9k", "test"] and not as_published["9k", "train"]  # one caption of twenty


def test_real_vatex_overlaps(tmp_path):
    found = check("vatex", with_real_splits(tmp_path, "vatex", "random1k5"))
    assert Overlap(("hgr", "val"), ("random1k5", "test"), 776) in found.overlaps
    assert not any("train" in (o.one[1], o.other[1]) for o in found.overlaps)
    assert all(split.as_published for split in found.splits)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_missing_files_are_problems_not_errors(tmp_path, kind):
    found = check_corpus(kind, videos=str(tmp_path / "v"), annotations=str(tmp_path / "a"))
    assert found.problems and all("no such file" in problem for problem in found.problems)
    assert all(split.videos == 0 for split in found.splits)
    assert not found.complete
    assert any("annotations" in line for line in found.obtain)
    assert any("videos" in line for line in found.obtain)


def test_splits_are_counted_without_the_caption_file(tmp_path):
    layout = write_layout("msvd", tmp_path, some_items())
    (layout.annotations / "raw-captions.pkl").unlink()
    found = check("msvd", layout)
    assert {s.split: (s.videos, s.captions) for s in found.splits} == {
        "train": (8, 0),
        "val": (2, 0),
        "test": (2, 0),
    }
    assert len(found.problems) == 1


def test_missing_videos_are_counted(tmp_path):
    source = tmp_path / "source.mp4"
    source.write_bytes(b"never opened")
    items = [
        Item("a", "train", ("x",), source),
        Item("b", "test", ("y",)),
        Item("c", "val", ("z",)),
    ]
    found = check("msvd", write_layout("msvd", tmp_path / "c", items))
    assert {s.split: s.missing_videos for s in found.splits} == {"train": 0, "val": 1, "test": 1}


def test_tables_name_what_the_readers_know():
    assert set(OBTAIN) == set(BENCHMARKS)
    for kind, protocol in PUBLISHED:
        assert protocol in reader_class(kind).protocols
    for kind in set(BENCHMARKS) - {"adaclip"}:  # several benchmarks in one format
        assert {name for k, name in PUBLISHED if k == kind} == set(reader_class(kind).protocols)


def test_unknown_benchmarks_are_named(tmp_path):
    with pytest.raises(CorpusError, match="'imagenet' is unknown; use one of: msrvtt"):
        check_corpus("imagenet", videos=str(tmp_path), annotations=str(tmp_path))
