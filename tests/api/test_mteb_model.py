"""A run as a model of mteb: what its DataLoader brings is looked up, or decoded and encoded."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import reelvec
from reelvec.errors import RequestError

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def run(real_store):
    return reelvec.open(real_store.store).run()


def loader(**columns):
    """As mteb makes one; a file or its bytes stand for a video."""
    dataset = datasets.Dataset.from_dict(columns)
    if "video" in columns:
        dataset = dataset.cast_column("video", datasets.Video(decode=False))
        dataset = dataset.cast_column("video", datasets.Video())  # mteb's tasks bring it so
    return DataLoader(dataset, batch_size=2, collate_fn=_texts)


def _texts(rows):
    return {"text": [row["text"] for row in rows]}


def files_of(run):
    rows = run.table("corpus_videos").arrow(["video_id", "path"]).to_pylist()
    return {row["video_id"]: row["path"] for row in rows}


def cosines(first, second):
    first, second = np.float64(first), np.float64(second)
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


def test_texts_are_the_runs(run):
    texts = ["a red circle", "a shape, take 0 of clip 3", "nothing"]
    found = run.mteb_model().encode(loader(text=texts), prompt_type=None, hf_split="test")
    assert found.dtype == np.float32 and found.shape[0] == 3
    assert cosines(found, run.encode_texts(texts)) == pytest.approx(1, abs=1e-6)


def test_a_video_it_has_is_looked_up_and_another_is_encoded(run, tmp_path):
    ids, vectors = run.videos.numpy()
    files, whole = files_of(run), [one for one in ids if one.startswith("clip")]
    videos = [{"path": files[one], "bytes": None} for one in whole]
    videos[1] = {"path": "elsewhere.mp4", "bytes": Path(files[whole[1]]).read_bytes()}
    model = run.mteb_model()
    found = model.encode(loader(video=videos))
    assert model.encoded == 0
    expected = vectors[[list(ids).index(one) for one in whole]]
    assert cosines(found, expected) == pytest.approx(1, abs=1e-6)

    renewed = tmp_path / "renewed.mp4"  # another file with the same frames: a box nobody reads
    renewed.write_bytes(Path(files[whole[0]]).read_bytes() + b"\0\0\0\x0cfree1234")
    found = model.encode(loader(video=[{"path": str(renewed), "bytes": None}]))
    assert model.encoded == 1
    assert cosines(found, expected[:1]) == pytest.approx(1, abs=1e-3)


def test_similarity_is_the_cosine(run):
    model, rng = run.mteb_model(), np.random.default_rng(0)
    first, second = rng.normal(size=(3, 8)), rng.normal(size=(3, 8))
    expected = cosines(first, second)
    assert model.similarity(first, second).diagonal().tolist() == pytest.approx(expected, abs=1e-6)
    assert model.similarity_pairwise(first, second).tolist() == pytest.approx(expected, abs=1e-6)
    assert model.similarity(first, second[:2]).shape == (3, 2)


def test_what_cannot_be_encoded_is_said(run, tmp_path):
    model = run.mteb_model()
    with pytest.raises(RequestError, match=r"columns id, audio; this model takes video or text"):
        model.encode(loader(id=["1"], audio=["x"]))
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video at all")
    with pytest.raises(RequestError, match=r"broken\.mp4"):
        model.encode(loader(video=[{"path": str(broken), "bytes": None}]))


def test_mteb_evaluates_it(run, tmp_path):
    """Its own numbers, of a task made of the run's files, are those of the run's export."""
    mteb = pytest.importorskip("mteb")
    from tests.support.mteb_task import text_to_video

    task, model = text_to_video(run, files=files_of(run)), run.mteb_model()
    cache = mteb.ResultCache(cache_path=tmp_path / "cache")
    (result,) = mteb.evaluate(model, [task], cache=cache).task_results
    (scores,) = result.scores["test"]
    assert model.encoded == 0
    run.export(tmp_path / "out", to="mteb")
    (ours,) = (tmp_path / "out" / "results").rglob("*T2VRetrieval.json")
    (expected,) = json.loads(ours.read_text())["scores"]["test"]
    for name in ("ndcg_at_10", "recall_at_1", "recall_at_5", "mrr_at_10", "map_at_10"):
        assert scores[name] == pytest.approx(expected[name], abs=1e-5)
