"""Each head from files to answers: embedded, evaluated, searched and exported."""

import pyarrow.parquet as pq
import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import export
from reelvec.tasks.exports.source import ExportSource
from reelvec.tasks.scoring.evaluate import evaluate
from reelvec.tasks.scoring.logits import dot_product, one_thread, scoring_of
from reelvec.tasks.searching.search import best_videos
from reelvec.tasks.searching.searcher import Searcher
from tests.support.engine_free import run_all

VIDEOS = 12
TOKENS = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 20}
HEADS = {
    "xpool": ("xpool", {}),
    "topk": ("xpool_baseline", {"pooling": "topk", "top_k": 2}),
    "attention": ("xpool_baseline", {"pooling": "attention"}),
    "wti": ("drl", {"cross_num_hidden_layers": 1}),
    "xti": ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1}),
    "teachclip": ("teachclip", {"cross_num_hidden_layers": 1}),
    "ts2net": ("ts2net", TOKENS),
    "ucofia": ("ucofia", TOKENS),
}
ASKED = ("a red circle moves", "a square")


def config_of(store, corpus, head):
    """Nothing is trained: tiny towers and a head, random."""
    family, options = HEADS[head]
    return PipelineConfig.model_validate(
        {
            "name": head,
            "store": str(store),
            "corpus": corpus,
            "extract": {"size": 32, "sampling": {"policy": "uniform", "count": 4}},
            "model": {
                "family": family,
                "options": options,
                "architecture": "nano",
                "max_words": 12,
                "max_frames": 4,
            },
            "train": {"epochs": 0, "device": "cpu"},
            "embed": {"device": "cpu", "dtype": "float16"},
            "evaluate": {"bootstrap": 0},
        }
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def corpus():
    return {"kind": "synthetic", "videos": VIDEOS, "seconds": 1.0, "fps": 4, "size": 64,
            "codecs": ["h264-mp4"]}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_a_head_runs_from_files_to_answers(head, store, corpus, tmp_path):
    run_all(config := config_of(store, corpus, head))
    session = Session(config)
    sources = sources_of(session)
    encoder, listed = sources.encoder(), sources.corpus.ref.open()
    model, table = encoder.model, sources.embeddings
    scoring = dot_product() if model.is_dot_product else scoring_of(model)
    found = evaluate(
        session, table, corpus=sources.corpus, options=config.evaluate, scoring=scoring
    )
    recalls = [row.value for row in found.metrics if row.metric == "R@1"]
    assert recalls and all(0 <= value <= 100 for value in recalls)
    with one_thread(), torch.inference_mode():
        tokens = model.tokenize(ASKED)
        texts = [encoder.encode_text(tokens[i : i + 1]).columns() for i in range(len(ASKED))]
    for query, answers in zip(
        texts, Searcher(table, corpus=listed).best(texts, scoring=scoring, top=5), strict=True
    ):
        expected = best_videos(query, embeddings=table, scoring=scoring, top=5)
        assert [(row.video_id, row.score) for row in answers.rows] == list(expected.best)
    source = ExportSource(head, "0123abcd", config, table, listed)
    export(source, tmp_path / "out", to="parquet", settings=ExportSettings())
    exported = pq.read_table(tmp_path / "out" / "videos.parquet").sort_by("video_id")
    own = read_table(table, "videos").sort_by("video_id")
    assert own.num_rows == exported.num_rows == VIDEOS
    for name in scoring.video_columns:
        assert own.column(name).to_pylist() == exported.column(name).to_pylist(), name
