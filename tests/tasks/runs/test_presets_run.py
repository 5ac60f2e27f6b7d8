"""One preset of each system through the ordinary pipeline: its files, frames, recipe and tables.

Only what a CPU cannot do is changed: tower sizes, weights, batch, epochs and processes.
"""

import dataclasses

import pytest

from reelvec.configs import load
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from tests.support.corpus_layouts import items_of, write_layout
from tests.support.engine_free import run_all

SMALL = (
    "model.weights=null", "model.architecture=tiny", "extract.size=64", "train.device=cpu",
    "model.policy_weights=null", "train.processes=1", "train.batch_size=4", "train.epochs=1",
    "embed.device=cpu",
)  # fmt: skip
SPLITS = ("train", "train", "train", "val", "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def items(store):
    source = SyntheticCorpus(
        videos=10, seconds=1.0, fps=8, size=64, codecs=("h264-mp4",), captions_per_video=2
    )
    listed = items_of(open_corpus(source, store_dir=store).read())
    return [dataclasses.replace(i, split=SPLITS[n % 5], seconds=1.0) for n, i in enumerate(listed)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "videos", "captions"),
    [
        ("clip4clip/msrvtt-9k-meanP-vit-b-32", 8, 6 * 2 + 2),
        ("clip2video/vatex-hgr-vit-b-32", 10, 10 * 2),
        ("xclip/lsmdc-vit-b-32", 10, 10 * 2),
        ("adaclip/didemo-vit-b-32", 10, 10),
    ],
)
def test_a_preset_runs(store, items, name, videos, captions):
    preset = load(name)
    kind, protocol = preset.corpus.kind, preset.corpus.protocol
    layout = write_layout(kind, store / name, items, protocol=protocol)
    places = [f"corpus.{key}={getattr(layout.config, key)}" for key in ("videos", "annotations")]
    config = load(name, overrides=[f"store={store}", *places, *SMALL])
    _, embeddings = run_all(config)
    assert embeddings.counts("videos").usable == videos
    assert embeddings.counts("captions").usable == captions
