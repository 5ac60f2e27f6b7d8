"""One corpus in the layout of every benchmark: read, decoded, embedded, scored; equal numbers."""

import csv
import dataclasses
from collections import Counter

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import FolderCorpus, SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.scoring.evaluate import evaluate
from tests.support.corpus_layouts import items_of, write_layout
from tests.support.engine_free import run_all

SPLITS = ("train", "test", "test", "val", "test")
TEST_VIDEOS = 9

# what a query is under each protocol, where a video has several captions
SENTENCES = [
    ("msrvtt", "full"), ("msvd", "all"), ("lsmdc", "public-1000"), ("vatex", "hgr"),
    ("vatex", "random1k5"), ("adaclip", "sentences"), ("folder", ""),
]  # fmt: skip
PARAGRAPHS = [("didemo", "paragraph"), ("activitynet", "val1"), ("adaclip", "paragraph")]
FIRST_CAPTION = [("msrvtt", "9k"), ("msrvtt", "7k")]
LAYOUTS = [*SENTENCES, *PARAGRAPHS, *FIRST_CAPTION]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def drawn(store):
    """Fifteen real video files, one caption each."""
    source = SyntheticCorpus(videos=15, seconds=1.0, fps=4, size=64, codecs=("h264-mp4",))
    listing = open_corpus(source, store_dir=store).read()
    return [
        dataclasses.replace(item, split=SPLITS[number % len(SPLITS)], seconds=1.0)
        for number, item in enumerate(items_of(listing))
    ]


def corpus_of(kind, protocol, *, root, items):
    """The layout on disk: its config, and the names its videos go by."""
    if kind != "folder":
        layout = write_layout(kind, root, items, protocol=protocol)
        return layout.config, layout.names
    file = root / "captions.csv"
    root.mkdir(parents=True)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["video_id", "path", "caption", "split"])
        for item in items:
            rows.writerows([item.name, item.path, text, item.split] for text in item.captions)
    config = FolderCorpus(videos=str(items[0].path.parent), captions=str(file))
    return config, {item.name: item.name for item in items}


def scored(kind, protocol, *, store, root, items):
    """Metrics by (direction, metric), and each test video's ranks, from the ordinary pipeline."""
    corpus, names = corpus_of(kind, protocol, root=root / f"{kind}-{protocol}", items=items)
    config = PipelineConfig.model_validate(
        {
            "store": str(store),
            "corpus": corpus.model_dump(),
            "extract": {"size": 64, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 4, "max_words": 77},
            "train": {"epochs": 0},
            "evaluate": {"bootstrap": 0},
        }
    )
    plans, embeddings = run_all(config)
    session = Session(config)
    corpus_now = read_corpus(session)
    found = evaluate(session, embeddings, corpus=corpus_now, options=config.evaluate)
    metrics = {(row.direction, row.metric): row.value for row in found.metrics}
    metrics["queries"] = {(row.protocol, row.direction, row.n) for row in found.metrics}
    ranks = Counter()
    for row in read_table(found.snapshot, "ranks").to_pylist():
        ranks[names[row["video_id"]], row["rank"]] += 1
    return plans["extract"].clips, metrics, ranks


@pytest.fixture(scope="module")
def one_caption(drawn, store, tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    return {layout: scored(*layout, store=store, root=root, items=drawn) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def three_captions(one_caption, drawn, store, tmp_path_factory):
    """The same files again, with two more captions each."""
    root = tmp_path_factory.mktemp("three")
    texts = [item.captions[0] for item in drawn]
    items = [
        dataclasses.replace(item, captions=(texts[n], f"{texts[n]} again", f"this is {texts[n]}"))
        for n, item in enumerate(drawn)
    ]
    return {layout: scored(*layout, store=store, root=root, items=items) for layout in LAYOUTS}


def equal(results, layouts):
    """What these layouts all found; fails where one differs."""
    _, metrics, ranks = results[layouts[0]]
    for layout in layouts[1:]:
        assert results[layout][1] == metrics, layout
        assert results[layout][2] == ranks, layout
    return metrics, ranks


def test_with_one_caption_a_video_all_layouts_agree(one_caption):
    metrics, ranks = equal(one_caption, LAYOUTS)
    assert metrics["queries"] == {("single", "t2v", TEST_VIDEOS), ("single", "v2t", TEST_VIDEOS)}
    assert len(ranks) == TEST_VIDEOS
    assert len({rank for _, rank in ranks}) > 2, "all ranks alike would agree by chance"


def test_with_several_captions_each_protocol_agrees(three_captions):
    sentences, sentence_ranks = equal(three_captions, SENTENCES)
    paragraphs, paragraph_ranks = equal(three_captions, PARAGRAPHS)
    first, _ = equal(three_captions, FIRST_CAPTION)
    assert sentences["queries"] == {
        ("multi", "t2v", 3 * TEST_VIDEOS),
        ("multi", "v2t", TEST_VIDEOS),
    }
    single = {("single", "t2v", TEST_VIDEOS), ("single", "v2t", TEST_VIDEOS)}
    assert paragraphs["queries"] == first["queries"] == single
    assert sentence_ranks.total() == 3 * TEST_VIDEOS
    assert paragraph_ranks.total() == TEST_VIDEOS


def test_first_captions_are_the_one_caption_corpus(one_caption, three_captions):
    assert three_captions["msrvtt", "9k"][1:] == one_caption["msrvtt", "9k"][1:]


def test_files_are_decoded_once(one_caption, three_captions):
    """Frames go by bytes and window: DiDeMo's 31 s and ActivityNet's durations are their own."""
    clips = {layout: found[0] for layout, found in one_caption.items()}
    first = LAYOUTS[0]
    assert clips[first] == len(SPLITS) * 3
    windows = {("didemo", "paragraph"): 15, ("activitynet", "val1"): 12}  # no val there
    for layout in LAYOUTS[1:]:
        assert clips[layout] == windows.get(layout, 0), layout
    assert {found[0] for found in three_captions.values()} == {0}
