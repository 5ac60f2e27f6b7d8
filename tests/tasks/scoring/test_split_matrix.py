"""The tiles of a split's matrix, and the own scores that are known before them."""

import threading

import numpy as np
import pyarrow as pa
import pytest
import torch

from reelvec.models.clip.architecture import Architecture
from reelvec.models.registry import build
from reelvec.tasks.scoring.logits import Scoring, dot_product, one_thread, scoring_of
from reelvec.tasks.scoring.split_matrix import SplitMatrix
from reelvec.tasks.scoring.split_rows import SplitRows
from tests.models.ranking.test_sweep import unit

TINY = Architecture(
    embed_dim=16,
    image_size=32,
    vision_layers=1,
    vision_width=64,
    patch_size=32,
    text_width=64,
    text_layers=1,
    vocab_size=64,
)


def rows_of(names, columns):
    return SplitRows(pa.table({"caption_id": names, "video_id": names}), columns)


def drawn(columns, count, rng):
    made = {}
    for name, column in columns.items():
        values = rng.standard_normal((count, *column.shape)).astype(np.float32)
        values /= np.linalg.norm(values, axis=-1, keepdims=True)
        whole = column.kind == "integer"
        values = np.ones_like(values, dtype=np.int64) if whole else values
        made[name] = values.reshape(count, -1)
    return made


@pytest.mark.parametrize("options", [("xclip", {}), ("adaclip", {"frame_agg": "qscore"})])
@pytest.mark.parametrize("height", [65, 128, 97])
@torch.inference_mode()
def test_own_scores_are_those_of_the_tiles_to_the_bit(options, height):
    family, settings = options
    torch.manual_seed(0)
    model = build(family, options=settings, architecture=TINY, max_words=8, max_frames=3).eval()
    rng, (n_texts, n_videos) = np.random.default_rng(0), (194, 150)
    texts = rows_of([f"t{i}" for i in range(n_texts)], drawn(model.text_columns, n_texts, rng))
    videos = rows_of([f"v{i}" for i in range(n_videos)], drawn(model.video_columns, n_videos, rng))
    owners = np.sort(rng.integers(0, n_videos, n_texts))
    with one_thread():
        matrix = SplitMatrix(texts, videos, owners=owners, scoring=scoring_of(model), height=height)
        assert matrix.meant is None
        whole = torch.cat(list(matrix.rows()))
        own = matrix.own()
    assert own.tolist() == whole[np.arange(n_texts), owners].tolist()
    assert own.std() > 0


def test_a_cosine_is_near_in_tiles_and_exact_in_rows():
    rng = np.random.default_rng(0)
    texts, videos = (unit(rng.standard_normal((n, 16))) for n in (7, 5))
    sides = [rows_of([str(i) for i in range(len(x))], {"embedding": x}) for x in (texts, videos)]
    owners = np.arange(7) % 5
    matrix = SplitMatrix(*sides, owners=owners, scoring=dot_product(scale=100.0), height=4)
    whole = torch.cat(list(matrix.rows()))
    tiles = torch.cat([tile.scores for tile in matrix])
    assert matrix.meant is not None
    assert (tiles - whole).abs().max() <= matrix.meant.error
    assert matrix.own().tolist() == whole[np.arange(7), owners].tolist()
    videos[2, 0] = np.inf
    matrix = SplitMatrix(*sides, owners=owners, scoring=dot_product(), height=4)
    assert matrix.meant is None  # no bound holds: the tiles are the scores themselves


def test_tiles_are_scored_ahead_on_one_thread_each_product_alone():
    seen = []

    def similarity(texts, videos):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        assert torch.is_inference_mode_enabled()
        return texts["embedding"] @ videos["embedding"].T

    rng = np.random.default_rng(0)
    sides = [
        rows_of([str(i) for i in range(n)], {"embedding": unit(rng.standard_normal((n, 16)))})
        for n in (6, 5)
    ]
    matrix = SplitMatrix(*sides, owners=np.arange(6) % 5, scoring=Scoring(similarity), height=2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        tiles = list(matrix)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert [(tile.text, tile.video) for tile in tiles] == [(0, 0), (2, 0), (4, 0)]
    assert seen == [("reelvec-scores_0", 1)] * 3
