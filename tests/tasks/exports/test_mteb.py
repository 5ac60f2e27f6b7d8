"""Numbers in mteb's files are those of its evaluator: by a golden, and by itself where it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reelvec.configs.corpora import BenchmarkCorpus
from reelvec.configs.schema import EvaluateConfig
from reelvec.errors import RequestError
from reelvec.models.ranking.referee import judge, referee_metrics
from reelvec.storage.corpora.benchmarks.published import PROTOCOLS
from reelvec.storage.corpora.registry import BENCHMARKS, reader_class
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import export
from reelvec.tasks.exports.mteb_results import protocol_of, task_name
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.scoring.split_scores import score_split

GOLDEN = json.loads((Path(__file__).parents[2] / "resources/mteb-golden.json").read_text())


def golden():
    sides = [np.array(GOLDEN[name], np.float32) for name in ("texts", "videos")]
    return *sides, np.array(GOLDEN["owners"])


def ours(texts, videos, owners, *, direction):
    sides, pairs = (texts, videos), (np.arange(len(owners)), owners)
    if direction == "v2t":
        sides, pairs = sides[::-1], pairs[::-1]
    ids = [f"d{row}" for row in range(len(sides[1]))]
    return judge(*sides, pairs=pairs, ids=ids)


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_metrics_are_those_of_the_evaluator_ties_and_many_captions_included(direction):
    judged = ours(*golden(), direction=direction)
    assert judged.tied > 10
    expected = dict(GOLDEN["metrics"][direction])
    assert expected.pop("accuracy") == expected["recall_at_1"]
    found = referee_metrics(judged)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.1 < found["ndcg_at_10"] < 0.9


def test_the_golden_is_what_the_evaluator_says_today():
    pytest.importorskip("mteb")
    from tests.resources.mteb_golden import evaluated

    assert evaluated(*golden()) == GOLDEN["metrics"]


def test_ranks_do_not_depend_on_how_many_are_scored_at_once(monkeypatch):
    whole = ours(*golden(), direction="v2t")
    monkeypatch.setattr("reelvec.models.ranking.referee._QUERIES_AT_ONCE", 3)
    monkeypatch.setattr("reelvec.models.ranking.referee._PAIRS_AT_ONCE", 2)
    pieces = ours(*golden(), direction="v2t")
    assert pieces.rank.tolist() == whole.rank.tolist() and pieces.tied == whole.tied


def test_a_run_is_written_as_mteb_reads_it(exported_run, tmp_path):
    source = exported_run[0]
    export(source, tmp_path / "out", to="mteb", settings=ExportSettings())
    (folder,) = (tmp_path / "out/results").glob("reelvec__clip4clip/*")
    assert folder.name == "ab" * 16
    options = EvaluateConfig(split=source.config.evaluate.split, bootstrap=0)
    scored = score_split(source.embeddings, options=options, scoring=dot_product()).metrics
    recalls = {row.metric: row.value for row in scored if row.direction == "t2v"}
    for direction in ("T2V", "V2T"):
        task = f"ReelvecFolder{direction}Retrieval"
        document = json.loads((folder / f"{task}.json").read_text())
        (numbers,) = document["scores"]["test"]
        assert document["task_name"] == task
        assert numbers["main_score"] == numbers["ndcg_at_10"]
        assert numbers["protocol"] == "a corpus of one's own (folder), split test"
        assert numbers["tied_queries"] == 0
        if direction == "T2V":
            for k in (1, 5, 10):
                assert numbers[f"recall_at_{k}"] == round(recalls[f"R@{k}"] / 100, 5)
        read_by_mteb(folder, task, numbers["main_score"])


def read_by_mteb(folder, task, main_score):
    """Its own classes read the files, where it is installed."""
    try:
        import mteb
        from mteb.models.model_meta import ModelMeta
        from mteb.results import TaskResult
    except ImportError:
        return
    read = TaskResult.from_disk(folder / f"{task}.json")
    (scores,) = read.scores["test"]
    assert read.task_name == task and scores["main_score"] == main_score
    meta = json.loads((folder / "model_meta.json").read_text())
    assert ModelMeta(**meta).revision == folder.name
    results = mteb.ResultCache(str(folder.parents[2])).load_results(require_model_meta=True)
    assert [one.model_name for one in results.model_results] == ["reelvec/clip4clip"]


def test_a_split_without_captions_has_nothing_to_score(exported_run, tmp_path):
    source = exported_run[0]
    elsewhere = source.config.evaluate.model_copy(update={"split": "val"})
    source = replace(source, config=source.config.model_copy(update={"evaluate": elsewhere}))
    with pytest.raises(RequestError, match=r"the split \(val\) has no caption"):
        export(source, tmp_path / "out", to="mteb", settings=ExportSettings())
    assert list(tmp_path.iterdir()) == []


def test_every_protocol_is_said_and_the_three_called_msr_vtt_differ(exported_run):
    config = exported_run[0].config
    known = [(kind, one) for kind in BENCHMARKS for one in reader_class(kind).protocols]
    assert list(PROTOCOLS) == known

    def of(protocol):
        corpus = BenchmarkCorpus(kind="msrvtt", videos="/v", annotations="/a", protocol=protocol)
        return config.model_copy(update={"corpus": corpus})

    assert task_name(of("default"), "t2v") == task_name(of("9k"), "t2v")
    names = {task_name(of(protocol), "v2t") for protocol in ("9k", "7k", "full")}
    assert len(names) == 3 and all("MSRVTT" in name for name in names)
    assert "2,990 test videos with 20" in protocol_of(of("full"))
    assert protocol_of(of("9k")).startswith("MSR-VTT 1k-A")
