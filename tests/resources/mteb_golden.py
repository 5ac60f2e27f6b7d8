"""Writes mteb-golden.json: what mteb's own evaluator says of scores with ties and many captions.

``python -m tests.resources.mteb_golden``, where mteb is installed. Vectors stand in the file, so
that no generator of random numbers is part of it; some videos and captions are copies of others.
"""

import json
from pathlib import Path

import numpy as np
import torch

from reelvec.models.ranking.exact import exact_product
from reelvec.models.ranking.referee import KS

HERE = Path(__file__).parent / "mteb-golden.json"


def made():
    """Videos [30, 6], captions [70, 6] and the video of each, a third of them copies."""
    rng = np.random.default_rng(0)
    videos = rng.integers(-3, 4, (30, 6)) + 0.25
    owners = rng.integers(0, 25, 70)
    texts = videos[owners] + rng.integers(-3, 4, (70, 6))
    videos[20:] = videos[:10]
    texts[50:] = texts[:20]
    sides = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (texts, videos))
    return *(side.astype(np.float32) for side in sides), owners


def evaluated(texts, videos, owners):
    """By direction, the metrics of mteb that rank."""
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, make_score_dict

    scores = exact_product(torch.from_numpy(texts), torch.from_numpy(videos)).numpy()
    found = {}
    for direction, matrix in (("t2v", scores), ("v2t", scores.T)):
        results = {
            f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(matrix)
        }
        relevant = {}
        for text, video in enumerate(owners.tolist()):
            query, candidate = (text, video) if direction == "t2v" else (video, text)
            relevant.setdefault(f"q{query}", {})[f"d{candidate}"] = 1
        results = {query: results[query] for query in relevant}
        said = calculate_retrieval_scores(results, relevant, list(KS))
        named = make_score_dict(
            ndcg=said.ndcg,
            _map=said.map,
            recall=said.recall,
            precision=said.precision,
            mrr=said.mrr,
            naucs={},
            naucs_mrr={},
            hit_rate=said.hit_rate,
            task_scores={},
        )
        found[direction] = {name: float(value) for name, value in named.items()}
    return found


if __name__ == "__main__":
    texts, videos, owners = made()
    sides = {"texts": texts.tolist(), "videos": videos.tolist(), "owners": owners.tolist()}
    HERE.write_text(json.dumps({**sides, "metrics": evaluated(texts, videos, owners)}) + "\n")
