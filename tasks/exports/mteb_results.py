"""mteb: what the tables of a run score, in the files the field's evaluator writes and reads.

`results/reelvec__FAMILY/REVISION/TASK.json`, a task a direction, with `model_meta.json` beside
them; our own task names, since a number is comparable under its own protocol alone.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import BenchmarkCorpus
from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.models.ranking.referee import judge, referee_metrics
from reelvec.models.ranking.tiles import Rows
from reelvec.storage.corpora.benchmarks.published import protocol_named
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.source import ExportSource
from reelvec.tasks.scoring.logits import one_thread
from reelvec.tasks.scoring.split_rows import SplitRows, open_rows

__all__ = ["MtebResults", "model_facts", "protocol_of", "task_name"]

_VERSION = "2.26.24"
"""Of mteb, whose files these are like."""
_TIES = "by id, the later one first, as trec_eval"


class MtebResults(Target):
    """`results/…`: the split that the run evaluates, text to video and video to text.

    nAUC is not among the numbers: it says how scores tell right from wrong, not how they rank.
    """

    name = "mteb"
    opened_by = 'mteb.ResultCache("OUT").load_results(), or TaskResult.from_disk of each file'

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """Memory: both tables of the split, and the scores of some queries."""
        del settings
        source.check_vector(self.name)
        facts = model_facts(source)
        place = folder / "results" / facts["name"].replace("/", "__") / facts["revision"]
        place.mkdir(parents=True)
        _write_json(place / "model_meta.json", facts)
        with one_thread():
            for task, document in _documents(source):
                _write_json(place / f"{task}.json", document)


@dataclass(frozen=True, eq=False)
class _Split:
    """Captions of the split's videos, and these videos."""

    texts: SplitRows
    videos: SplitRows
    owners: Rows

    def scores(self, direction: str) -> dict[str, Any]:
        """Metrics of t2v or v2t, and what they are of."""
        rows = (self.texts, self.videos)
        about = (np.arange(len(self.owners)), self.owners)
        if direction == "v2t":
            rows, about = rows[::-1], about[::-1]
        queries, candidates = (one.columns[EMBEDDING].astype(np.float32) for one in rows)
        ids = rows[1].ids("video_id" if direction == "t2v" else "caption_id")
        judged = judge(queries, candidates, pairs=about, ids=ids)
        metrics = referee_metrics(judged)
        return {
            "main_score": metrics["ndcg_at_10"],
            **metrics,
            "accuracy": metrics["recall_at_1"],
            "queries": len(np.unique(about[0])),
            "candidates": len(ids),
            "ties": _TIES,
            "tied_queries": judged.tied,
        }


def _documents(source: ExportSource) -> list[tuple[str, dict[str, Any]]]:
    """Tasks by name, as `mteb.TaskResult` has them."""
    split = source.config.evaluate.split
    made: list[tuple[str, dict[str, Any]]] = []
    with (
        open_rows(
            source.embeddings,
            table="videos",
            facts=("video_id", "split"),
            features=(EMBEDDING,),
            split=split,
        ) as videos,
        open_rows(
            source.embeddings,
            table="captions",
            facts=("caption_id", "video_id", "split"),
            features=(EMBEDDING,),
            split=split,
            within=videos.ids("video_id"),
        ) as texts,
    ):
        place = {video_id: row for row, video_id in enumerate(videos.ids("video_id"))}
        owners = np.array([place[name] for name in texts.ids("video_id")], np.int64)
        if not len(owners):
            raise RequestError(
                f"the split ({split}) has no caption of an embedded video, so there is nothing to"
                " score; evaluate.split names the split"
            )
        for direction in ("t2v", "v2t"):
            started = time.monotonic()
            scores = _Split(texts, videos, owners).scores(direction)
            name, seconds = task_name(source.config, direction), time.monotonic() - started
            made.append((name, _document(source, task=name, scores=scores, seconds=seconds)))
    return made


def _document(
    source: ExportSource, *, task: str, scores: dict[str, Any], seconds: float
) -> dict[str, Any]:
    about = {"hf_subset": "default", "languages": ["eng-Latn"]}
    about["protocol"] = protocol_of(source.config)
    corpus = source.corpus
    return {
        "dataset_revision": f"{corpus.artifact.fingerprint}-{corpus.number}",
        "task_name": task,
        "mteb_version": _VERSION,
        "scores": {source.config.evaluate.split: [{**scores, **about}]},
        "evaluation_time": seconds,
        "kg_co2_emissions": None,
        "date": datetime.now(UTC).isoformat(),
        "evaluation_phases": None,
    }


def protocol_of(config: PipelineConfig) -> str:
    """Under which protocol the run's numbers are, in words."""
    corpus = config.corpus
    if isinstance(corpus, BenchmarkCorpus):
        return protocol_named(corpus.kind, corpus.protocol).said
    return f"a corpus of one's own ({corpus.kind}), split {config.evaluate.split}"


def task_name(config: PipelineConfig, direction: str) -> str:
    """`ReelvecMSRVTT1kAT2VRetrieval`: ours, and none of mteb's."""
    corpus = config.corpus
    named = corpus.kind.capitalize()
    if isinstance(corpus, BenchmarkCorpus):
        named = protocol_named(corpus.kind, corpus.protocol).task
    return f"Reelvec{named}{direction.upper()}Retrieval"


def model_facts(source: ExportSource) -> dict[str, Any]:
    """`mteb.ModelMeta` of the run: which family, with which weights."""
    model = source.config.model
    unknown = dict.fromkeys(
        [
            "loader",
            "release_date",
            "n_parameters",
            "memory_usage_mb",
            "license",
            "open_weights",
            "public_training_code",
            "public_training_data",
            "training_datasets",
        ]
    )
    return {
        "name": f"reelvec/{model.family}",
        "revision": str(source.embeddings.artifact.identity.get("weights", "unknown")),
        "languages": ["eng-Latn"],
        "max_tokens": model.max_words,
        "embed_dim": source.schema("videos").field(EMBEDDING).type.list_size,
        "framework": ["PyTorch"],
        "similarity_fn_name": "cosine",
        "use_instructions": False,
        "modalities": ["text", "video"],
        **unknown,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
