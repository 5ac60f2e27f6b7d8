"""Metrics from tables: against a naive twin, reconciled coverage, nothing done twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reelvec.configs.schema import EvaluateConfig
from reelvec.storage.records import Outcome
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.scoring import split_rows
from reelvec.tasks.scoring.coverage import CoverageError
from reelvec.tasks.scoring.evaluate import (
    evaluate,
    finished_evaluation,
    read_coverage,
    read_metrics,
)
from reelvec.tasks.scoring.logits import Scoring, dot_product
from reelvec.tasks.scoring.split_matrix import UnscorableError
from reelvec.tasks.scoring.split_rows import MissingColumnError
from tests.models.ranking.test_rerank import naive_bias
from tests.support.small_store import commit, make_store, plain_captions, plain_videos, video

OPTIONS = EvaluateConfig(bootstrap=50, block=3)


@pytest.fixture
def store(tmp_path):
    videos = plain_videos(12)
    return make_store(
        tmp_path,
        videos=videos,
        captions=plain_captions(videos, subset_of=lambda i: "motion" if i % 3 == 0 else ""),
        parts=3,
    )


def value(evaluation, name, *, subset="", protocol="single"):
    direction, metric = name.split("/")
    found = [
        row.value
        for row in read_metrics(evaluation.snapshot)
        if (row.direction, row.metric, row.subset, row.protocol)
        == (direction, metric, subset, protocol)
    ]
    assert len(found) == 1
    return found[0]


def naive_ranks(store, split="test"):
    """Rank of each caption's video by sorting, caption by caption (no ties in random vectors)."""
    here = {v.video_id for v in store.corpus.videos if v.split in (split, "")}
    usable = sorted(here & set(read_table(store.embeddings, "videos")["video_id"].to_pylist()))
    ranks = {}
    for caption in store.corpus.captions:
        if caption.video_id not in usable:
            continue
        scores = {v: float(store.captions[caption.caption_id] @ store.videos[v]) for v in usable}
        order = sorted(usable, key=lambda v: -scores[v])
        ranks[caption.caption_id] = (order.index(caption.video_id) + 1, order[:5])
    return ranks


def test_rivals_are_the_videos_best_captions_or_every_caption(tmp_path):
    """As the three, or as AdaCLIP; where each video has one caption both are the same."""
    videos = plain_videos(120)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos, each=3))
    made = {
        rivals: evaluate(
            store.session,
            store.embeddings,
            corpus=store.corpus,
            options=OPTIONS.model_copy(update={"rivals": rivals}),
        )
        for rivals in ("videos", "captions")
    }
    usable = [v.video_id for v in videos if v.split == "test"]
    captions = [c for c in store.corpus.captions if c.video_id in usable]
    ranks = {"videos": [], "captions": []}
    for name in usable:
        scores = [store.captions[c.caption_id] @ store.videos[name] for c in captions]
        own = max(s for s, c in zip(scores, captions, strict=True) if c.video_id == name)
        better = [c.video_id for s, c in zip(scores, captions, strict=True) if s > own]
        ranks["captions"].append(1 + len(better))
        ranks["videos"].append(1 + len(set(better)))
    assert ranks["videos"] != ranks["captions"]
    for rivals, evaluation in made.items():
        mean = value(evaluation, "v2t/MnR", protocol="multi")
        assert mean == pytest.approx(np.mean(ranks[rivals]))
    before_the_choice = made["videos"].snapshot.artifact.identity["options"]
    assert "rivals" not in before_the_choice
    assert made["captions"].snapshot.artifact.identity["options"] == before_the_choice | {
        "rivals": "captions"
    }


def test_metrics_are_those_of_the_naive_twin(store):
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    expected = naive_ranks(store)
    rows = read_table(made.snapshot, "ranks").to_pylist()
    found = {row["caption_id"]: (row["rank"], row["top_video_ids"]) for row in rows}
    assert found == expected
    ranks = np.array([rank for rank, _ in expected.values()])
    assert value(made, "t2v/R@1") == pytest.approx(100 * (ranks == 1).mean())
    assert value(made, "t2v/MdR") == np.median(ranks)
    motion = [expected[f"v{i:03d}-0"][0] for i in (6, 9)]
    assert value(made, "t2v/MnR", subset="motion") == np.mean(motion)


def test_own_score_and_best_scores_are_kept(store):
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    for row in read_table(made.snapshot, "ranks").to_pylist():
        own = store.captions[row["caption_id"]] @ store.videos[row["video_id"]]
        best = store.captions[row["caption_id"]] @ store.videos[row["top_video_ids"][0]]
        assert row["score"] == pytest.approx(own, abs=1e-6)
        assert row["top_scores"][0] == pytest.approx(best, abs=1e-6)


def test_video_to_text_is_the_transpose_for_one_caption_a_video(store):
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    videos = [v.video_id for v in store.corpus.videos if v.split == "test"]
    expected = {}
    for v in videos:
        scores = [float(store.captions[f"{w}-0"] @ store.videos[v]) for w in videos]
        own = scores[videos.index(v)]
        expected[v] = 1 + sum(score > own for score in scores)
    rows = read_table(made.snapshot, "video_ranks").to_pylist()
    assert {row["video_id"]: row["rank"] for row in rows} == expected


def finished(store, options):
    return finished_evaluation(
        store.session, store.embeddings, corpus=store.corpus, options=options
    )


def test_a_second_evaluation_changes_nothing(store):
    first = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    again = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.snapshot.number == first.snapshot.number
    # the block is how, not what
    other = OPTIONS.model_copy(update={"block": 7})
    assert finished(store, other) is not None
    train = OPTIONS.model_copy(update={"split": "train"})
    assert finished(store, train) is None


def test_new_tables_are_scored_again_and_old_rows_leave(store):
    first = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    artifact = store.embeddings.artifact
    rows = read_table(store.embeddings, "videos")
    flipped = rows.set_column(
        rows.schema.get_field_index("embedding"),
        "embedding",
        rows["embedding"].take(np.arange(len(rows))[::-1]),
    )
    keys = rows["video_id"].to_pylist()
    newer = commit(
        artifact,
        [("videos", flipped.replace_schema_metadata(None), [Outcome(k) for k in keys], "new")],
        supersede={"videos": keys},
    )
    made = evaluate(store.session, newer, corpus=store.corpus, options=OPTIONS)
    assert made.fresh
    assert made.snapshot.number > first.snapshot.number
    assert made.snapshot.rows_of("ranks") == first.snapshot.rows_of("ranks")
    assert value(made, "t2v/MnR") != value(first, "t2v/MnR")


def test_of_two_runs_that_score_at_once_the_last_is_in_force(store, monkeypatch):
    """The other one publishes when this one has all but published."""
    session, publish = store.session, Session.publish

    def publish_second(given, artifact, **more):
        if given is session:
            evaluate(Session(session.config), newer, corpus=store.corpus, options=OPTIONS)
        return publish(given, artifact, **more)

    rows = read_table(store.embeddings, "videos").replace_schema_metadata(None)
    keys = rows["video_id"].to_pylist()
    newer = commit(
        store.embeddings.artifact,
        [("videos", rows, [Outcome(k) for k in keys], "new")],
        supersede={"videos": keys},
    )
    monkeypatch.setattr(Session, "publish", publish_second)
    made = evaluate(session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert made.snapshot.number == 2
    found = finished_evaluation(session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert found is not None and len(found.parts("coverage")) == 1


def test_bytes_do_not_depend_on_parts_or_mapping(tmp_path):
    videos = plain_videos(12)
    captions = plain_captions(videos, each=2)
    sums = []
    for parts, mapped in ((1, 1 << 28), (4, 0)):
        folder = tmp_path / str(parts)
        folder.mkdir()
        store = make_store(folder, videos=videos, captions=captions, parts=parts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(split_rows, "MAP_BYTES", mapped)
            made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
        sums.append({p.entry.table: p.entry.checksum for p in made.snapshot.parts()})
    assert sums[0] == sums[1]
    assert "t2v/multi//R@1" in made.snapshot.live("metrics")


@pytest.mark.parametrize("block", [1, 5, 100])
def test_ranks_do_not_depend_on_blocks(store, block):
    options = OPTIONS.model_copy(update={"block": block})
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=options)
    rows = read_table(made.snapshot, "ranks").to_pylist()
    expected = naive_ranks(store)
    assert {r["caption_id"]: (r["rank"], r["top_video_ids"]) for r in rows} == expected


def test_half_precision_tables_are_scored_in_single(tmp_path):
    videos = plain_videos(10)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos), dtype=np.float16)
    seen = []

    def similarity(texts, videos):
        seen.append((texts["embedding"].dtype, videos["embedding"].dtype))
        return texts["embedding"] @ videos["embedding"].T

    evaluate(
        store.session,
        store.embeddings,
        corpus=store.corpus,
        options=OPTIONS,
        scoring=Scoring(similarity),
    )
    assert set(seen) == {(torch.float32, torch.float32)}


def test_coverage_reconciles_and_failed_videos_are_not_scored(tmp_path):
    videos = [
        *plain_videos(9, train=3),
        video(9, status="quarantined", reason="missing", message="no file"),
    ]
    failed = {
        "v004": Outcome("", "quarantined", "truncated", "moov atom not found"),
        "v005": Outcome("", "salvaged", "damaged", "71 % kept"),
        "v001": Outcome("", "quarantined", "timeout", "120 s"),
    }
    captions = [c for c in plain_captions(videos, each=2) if c.video_id != "v006"]
    store = make_store(tmp_path, videos=videos, captions=captions, failed=failed)
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    rows = {row.split: row for row in read_coverage(made.snapshot)}
    test, train = rows["test"], rows["train"]
    assert (test.planned, test.ok, test.salvaged, test.quarantined) == (7, 4, 1, 2)
    assert (test.with_captions, test.captions, test.captions_scored) == (4, 12, 8)
    assert (train.planned, train.quarantined, train.scored, test.scored) == (3, 1, False, True)
    assert all(r.planned == r.ok + r.salvaged + r.quarantined for r in rows.values())
    scored = read_table(made.snapshot, "ranks").to_pylist()
    assert len(scored) == test.captions_scored
    assert {row["video_id"] for row in scored} == {"v003", "v005", "v007", "v008"}
    # a video without captions is a candidate, and no query
    assert any("v006" in row["top_video_ids"] for row in scored)
    assert "v006" not in read_table(made.snapshot, "video_ranks")["video_id"].to_pylist()


def test_a_video_that_is_nowhere_is_refused(store):
    stranger = video(99)
    corpus = replace(store.corpus, videos=[*store.corpus.videos, stranger])
    with pytest.raises(CoverageError, match=r"1 of the\s+corpus .* v099.*embed again"):
        evaluate(store.session, store.embeddings, corpus=corpus, options=OPTIONS)
    gone = replace(store.corpus, videos=store.corpus.videos[1:])
    with pytest.raises(CoverageError, match="1 of the table are not"):
        evaluate(store.session, store.embeddings, corpus=gone, options=OPTIONS)


def test_without_captions_there_is_coverage_and_no_metric(tmp_path):
    store = make_store(tmp_path, videos=plain_videos(6), captions=[])
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert made.metrics == []
    assert [row.planned for row in read_coverage(made.snapshot)] == [4, 2]
    assert not evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS).fresh


def test_a_video_without_split_is_in_every_split(tmp_path):
    videos = [video(i, split="") for i in range(6)]
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert made.snapshot.rows_of("ranks") == 6
    assert [(row.split, row.scored) for row in read_coverage(made.snapshot)] == [("", True)]


def test_published_numbers_stand_beside_ours_only(store):
    options = OPTIONS.model_copy(
        update={"published": {"t2v/R@1": 44.5}, "rerank": ("dual_softmax",)}
    )
    made = evaluate(
        store.session,
        store.embeddings,
        corpus=store.corpus,
        options=options,
        scoring=dot_product(scale=100.0),
    )
    beside = [row for row in made.metrics if row.published is not None]
    assert [(r.direction, r.protocol, r.subset) for r in beside] == [("t2v", "single", "")]
    reranked = {row.protocol for row in made.metrics}
    assert reranked == {"single", "single+dual_softmax"}
    assert value(made, "t2v/MnR") == np.mean([rank for rank, _ in naive_ranks(store).values()])


def test_dual_softmax_is_that_of_the_whole_matrix(store):
    options = OPTIONS.model_copy(update={"rerank": ("dual_softmax",)})
    made = evaluate(
        store.session,
        store.embeddings,
        corpus=store.corpus,
        options=options,
        scoring=dot_product(scale=20.0),
    )
    ids = [v.video_id for v in store.corpus.videos if v.split == "test"]
    texts = np.stack([store.captions[f"{v}-0"] for v in ids])
    logits = torch.from_numpy(20 * texts @ np.stack([store.videos[v] for v in ids]).T).double()
    product = logits.softmax(0) * logits.softmax(1)
    ranks = 1 + (product > product.diagonal()[:, None]).sum(1).double()
    found = value(made, "t2v/MnR", protocol="single+dual_softmax")
    assert found == pytest.approx(float(ranks.mean()))


def test_sk_norm_asks_the_training_split_part_by_part(store):
    """Of a score that is the mean of two; texts of training for t2v, its videos for v2t."""

    def parts(texts, videos):
        cosines = texts["embedding"] @ videos["embedding"].T
        return torch.stack([20 * cosines, 8 * cosines.abs()])

    options = OPTIONS.model_copy(update={"rerank": ("sk_norm",)})
    made = evaluate(
        store.session,
        store.embeddings,
        corpus=store.corpus,
        options=options,
        scoring=Scoring(lambda texts, videos: parts(texts, videos).mean(0), components=parts),
    )

    def rows(split):
        ids = [v.video_id for v in store.corpus.videos if v.split == split]
        usable = [v for v in ids if v in store.videos]
        captions = [store.captions[f"{v}-0"] for v in ids]
        both = captions, [store.videos[v] for v in usable]
        return [{"embedding": torch.from_numpy(np.stack(x)).float()} for x in both]

    (texts, videos), (train_texts, train_videos) = rows("test"), rows("train")
    plain = parts(texts, videos).double().mean(0)
    by_video = sum(naive_bias(x.double()) for x in parts(train_texts, videos)) / 2
    by_text = sum(naive_bias(x.double().T) for x in parts(texts, train_videos)) / 2
    for direction, scores in (("t2v", plain + by_video), ("v2t", (plain + by_text[:, None]).T)):
        ranks = 1 + (scores > scores.diagonal()[:, None]).sum(1).double()
        found = value(made, f"{direction}/MnR", protocol="single+sk_norm")
        assert found == pytest.approx(float(ranks.mean()))
        assert found != value(made, f"{direction}/MnR")


def test_sk_norm_without_a_training_split_says_so(tmp_path):
    videos = [video(i, split="test") for i in range(4)]
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    options = OPTIONS.model_copy(update={"rerank": ("sk_norm",)})
    with pytest.raises(UnscorableError, match=r"captions of the split train.*have none"):
        evaluate(store.session, store.embeddings, corpus=store.corpus, options=options)


def test_nan_is_an_error_that_names_caption_and_video(store):
    def similarity(texts, videos):
        scores = texts["embedding"] @ videos["embedding"].T
        scores[0, 1] = torch.nan
        return scores

    with pytest.raises(UnscorableError, match=r"v004-0 × v005.*no rank"):
        evaluate(
            store.session,
            store.embeddings,
            corpus=store.corpus,
            options=OPTIONS,
            scoring=Scoring(similarity),
        )


def test_unknown_reranking_and_missing_column_name_the_remedy(store):
    options = OPTIONS.model_copy(update={"rerank": ("magic",)})
    with pytest.raises(UnscorableError, match=r"'magic'; there are: dual_softmax"):
        evaluate(store.session, store.embeddings, corpus=store.corpus, options=options)
    scoring = Scoring(dot_product().similarity, ("words",), ("frames_tensor",))
    with pytest.raises(MissingColumnError, match="no column frames_tensor"):
        evaluate(
            store.session,
            store.embeddings,
            corpus=store.corpus,
            options=OPTIONS,
            scoring=scoring,
        )


def test_scoring_does_not_change_the_number_of_threads(store):
    before = torch.get_num_threads()
    evaluate(store.session, store.embeddings, corpus=store.corpus, options=OPTIONS)
    assert torch.get_num_threads() == before
