"""An index and two stages: what they find has exact scores, and what they miss is measured."""

import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from reelvec.configs.indexing import IndexConfig
from reelvec.errors import RequestError
from reelvec.models.ranking.exact import exact_product
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.searching import approximate
from reelvec.tasks.searching.approximate import ApproximateIndex, keep_settings, kept_settings
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.two_stages import TwoStageIndex
from reelvec.tasks.searching.vectors import VectorIndex
from tests.models.test_bounding import drawn, made

faiss = pytest.importorskip("faiss")

VIDEOS, WIDTH = 3000, 32


def columns_of(keys, key, features):
    split = ["train" if row % 3 else "test" for row in range(len(keys))]
    columns = {key: pa.array(keys), "split": pa.array(split)}
    if key != "video_id":
        columns["video_id"] = pa.array([name.removeprefix("c") for name in keys])
    for name, values in features.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values[0].size)
    return pa.table(columns)


def table_of(folder, videos, captions, *, base=0, kind="embeddings"):
    """The snapshot of a table of features (name -> [rows, ...]), its captions beside it."""
    artifact = Artifact.open(open_root(folder / "store"), kind=kind, identity={"kind": kind})
    names = [f"v{base + row:05d}" for row in range(len(next(iter(videos.values()))))]
    texts = [f"cv{base + row:05d}" for row in range(len(next(iter(captions.values()))))]
    receipts = []
    for table, key, keys, features in [
        ("videos", "video_id", names, videos),
        ("captions", "caption_id", texts, captions),
    ]:
        if keys:
            with artifact.new_part(table=table, shard=f"p{base}", suffix=".parquet") as part:
                rows = columns_of(keys, key, features)
                write_table(part.path, rows, metadata=identity_metadata(artifact.identity))
                receipts.append(part.commit(rows=len(keys), outcomes=list(map(Outcome, keys))))
    return artifact.publish(add=receipts)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count, *, seed, width=WIDTH):
    """Around forty directions, the same for every seed."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((40, width))
    return unit(centres[rng.integers(0, 40, count)] + 0.4 * rng.standard_normal((count, width)))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    vectors = clustered(VIDEOS, seed=0)
    captions = {"embedding": clustered(200, seed=1)}
    return table_of(tmp_path_factory.mktemp("table"), {"embedding": vectors}, captions)


def index_of(snapshot, **settings):
    exact = VectorIndex.of(snapshot)
    index = ApproximateIndex.of(
        snapshot, exact=exact, table="videos", settings=IndexConfig(**settings)
    )
    return index, exact


def part_found(index, exact, queries, **options):
    """Of the exact ten best; every score that is found must be the exact one."""
    parts = []
    found = index.best(queries, top=10, **options)
    for query, ranking, whole in zip(
        queries, found, exact.best(queries, top=10, **options), strict=True
    ):
        rows = [exact.rows.find(name) for name, _ in ranking.best]
        scores = exact_product(*(torch.from_numpy(x) for x in (query[None], exact.vectors[rows])))
        assert [score for _, score in ranking.best] == scores[0].tolist()
        assert ranking.best == sorted(ranking.best, key=lambda row: (-row[1], row[0]))
        parts.append(len(dict(whole.best).keys() & dict(ranking.best).keys()) / 10)
    return np.mean(parts), found


@pytest.mark.parametrize("settings", [{}, {"numbers": "float32"}, {"dimensions": 16}])
def test_what_is_found_of_new_queries_is_near_to_what_was_measured(snapshot, settings):
    index, exact = index_of(snapshot, recall=0.9, **settings)
    facts = index.shortlist.facts
    part, found = part_found(index, exact, clustered(100, seed=2))
    assert part == pytest.approx(facts["recall"], abs=0.05) and facts["recall"] > 0.85
    assert facts["probes"] < facts["lists"] and facts["asked"] == "captions"
    assert all(r.scored < r.videos / 4 and r.recall == facts["recall"] for r in found)
    assert facts["codes_alone"] < 1 if settings.get("numbers") != "float32" else True


def test_filters_look_further(snapshot):
    index, exact = index_of(snapshot, recall=0.9)
    few = pa.array([f"v{row:05d}" for row in range(0, VIDEOS, 17)])
    queries = clustered(50, seed=2)
    assert part_found(index, exact, queries, split="test")[0] > 0.85
    part, found = part_found(index, exact, queries, only=few)
    assert part > 0.85 and all(len(r.best) == 10 for r in found)
    (ranking,) = index.best(queries[:1], top=10, only=few[:20])
    assert ranking == exact.best(queries[:1], top=10, only=few[:20])[0]
    assert ranking.recall is None  # all that fit were scored
    own = exact.vector("v00007")
    assert "v00007" not in dict(index.best(own, top=10, without="v00007")[0].best)


def test_more_answers_than_the_lists_hold(snapshot):
    index, exact = index_of(snapshot, recall=0.9)
    (found,) = index.best(clustered(1, seed=2), top=VIDEOS)
    assert found == exact.best(clustered(1, seed=2), top=VIDEOS)[0]


def test_what_cannot_be_found_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = unit(rng.standard_normal((9000, WIDTH)))
    asked = {"embedding": unit(rng.standard_normal((60, WIDTH)))}
    table = table_of(tmp_path, {"embedding": noise}, asked)
    with pytest.raises(RequestError, match=r"at most .* of the ten best .* or keep more --dim"):
        index_of(table, dimensions=1, recall=0.99)
    with pytest.raises(RequestError, match=r"--dimensions \(33\) is more than the 32"):
        index_of(table, dimensions=33)


def test_a_table_that_has_grown_has_another_index(tmp_path):
    vectors, captions = clustered(400, seed=0), {"embedding": clustered(40, seed=1)}
    before = table_of(tmp_path, {"embedding": vectors}, captions)
    keep_settings(before, IndexConfig(recall=0.9, numbers="float32"))
    first, _ = index_of(before)
    query = clustered(1, seed=5)
    more = {"embedding": np.concatenate([query, clustered(30, seed=6)])}
    after = table_of(tmp_path, more, {"embedding": captions["embedding"][:0]}, base=400)
    second, _ = index_of(after)
    assert first.best(query, top=1)[0].best[0][0] < "v00400"
    assert second.best(query, top=1)[0].best[0][0] == "v00400"
    assert first.shortlist.facts["fingerprint"] != second.shortlist.facts["fingerprint"]
    gc(after.artifact.root, options=GcOptions(keep_snapshots=1, min_age_seconds=0))
    assert kept_settings(after) == IndexConfig(recall=0.9, numbers="float32")


def test_a_damaged_index_is_made_anew(tmp_path):
    vectors, captions = clustered(400, seed=0), {"embedding": clustered(40, seed=1)}
    table = table_of(tmp_path, {"embedding": vectors}, captions)
    query = clustered(1, seed=5)
    before = index_of(table)[0].best(query, top=10)
    (file,) = (tmp_path / "store").rglob("lists.faiss")
    good = file.read_bytes()
    file.write_bytes(good[:-9] + bytes([good[-9] ^ 64]) + good[-8:])
    assert index_of(table)[0].best(query, top=10) == before and file.read_bytes() == good


@pytest.mark.parametrize("videos", [0, 1, 12])
def test_small_tables_and_tables_without_captions(tmp_path, videos):
    none = {"embedding": clustered(1, seed=1)[:0]}
    first = {"embedding": clustered(1, seed=0)}
    table = table_of(tmp_path, first, none)
    if videos != 1:
        table.artifact.publish(supersede={"videos": ["v00000"]})
        table = table_of(tmp_path, {"embedding": clustered(videos, seed=0)}, none, base=1)
    index, exact = index_of(table)
    query = clustered(1, seed=3)
    assert index.best(query, top=10) == exact.best(query, top=10)
    assert index.shortlist.facts["asked"] == "videos"


def test_without_faiss_the_remedy_is_said(snapshot, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(RequestError, match=r"pip install 'reelvec\[index\]'"):
        index_of(snapshot)


@pytest.mark.parametrize("name", ["xclip", "drl"])
def test_two_stages_give_the_score_s_own_numbers_and_say_what_they_miss(name, tmp_path):
    model = made(name, seed=0)
    text, video = drawn(model, "near", videos=190)
    scoring = scoring_of(model)
    torch.manual_seed(0)
    captions = {}
    for key, values in text.columns().items():
        many = values.repeat(24, *[1] * (values.ndim - 1))
        noise = 0.2 * torch.randn(many.shape) if many.is_floating_point() else 0
        captions[key] = (many + noise).numpy()
    table = table_of(tmp_path, {n: v.numpy() for n, v in video.columns().items()}, captions)
    index = TwoStageIndex.of(
        table, table="videos", scoring=scoring, settings=IndexConfig(recall=0.8)
    )
    exact = BoundedIndex.of(table, scoring=scoring, bound=scoring.bound)
    query = text.columns()
    for options in ({}, {"split": "test"}, {"only": pa.array(["v00003", "v00100"])}):
        found = index.best(query, top=3, **options)
        scores = dict(exact.best(query, top=190, **options).best)
        assert found.best and all(scores[name] == score for name, score in found.best)
    facts = index.shortlist.facts
    assert facts["queries"] == 12 and facts["lists"] == 1 and 0.6 < facts["recall"] <= 1
    assert index.best(query, top=3).scored == min(190, facts["times"] * 10)


def test_two_stages_are_measured_with_captions_or_not_made(tmp_path):
    model = made("xclip", seed=0)
    text, video = drawn(model, "near", videos=9)
    columns = {n: v.numpy() for n, v in video.columns().items()}
    none = {n: v[:0].numpy() for n, v in text.columns().items()}
    with pytest.raises(RequestError, match="the table has 0 captions"):
        TwoStageIndex.of(
            table_of(tmp_path, columns, none),
            table="videos",
            scoring=scoring_of(model),
            settings=IndexConfig(),
        )


def test_captions_are_taken_from_the_whole_table(snapshot):
    def some(count):
        asked = approximate.asked_captions(snapshot, columns=("embedding",), count=count)
        return torch.cat([query["embedding"] for query in asked]).numpy()

    every = some(1000)
    assert len(every) == 200 and len(some(7)) == 7
    np.testing.assert_array_equal(some(50), every[::4])
