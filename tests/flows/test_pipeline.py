"""The flows on a real Prefect server: whole, again, on Dask, and the scheduled one."""

import csv
import os
import re
import shutil

import pytest

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.tasks.corpus.ledger import counts
from reelvec.tasks.runs.status import describe_store
from tests.support.programs import Watched, watching

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve real clips with captions, and a text file that calls itself a video."""
    from reelvec.configs.schema import SyntheticCorpus
    from reelvec.storage.corpora import open_corpus

    folder = tmp_path_factory.mktemp("videos")
    config = SyntheticCorpus(videos=12, seconds=1.0, fps=4, size=64)
    listing = open_corpus(config, store_dir=tmp_path_factory.mktemp("drawn")).read()
    texts = {caption.video_id: caption.text for caption in listing.captions}
    rows = [("video_id", "path", "caption")]
    for video in listing.videos:
        name = shutil.copy(video.path, folder).rpartition("/")[2]
        rows.append((video.video_id, name, texts[video.video_id]))
    (folder / "text.mp4").write_text("no video")
    rows.append(("text", "text.mp4", "nothing to see"))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def config_of(source, store, **more):
    return PipelineConfig.model_validate(
        {
            "name": "flows",
            "store": str(store),
            "corpus": {
                "kind": "folder",
                "videos": str(source),
                "captions": str(source / "captions.csv"),
            },
            "extract": {"size": 64, "shard_videos": 4, "sampling": {"rate": 2.0}},
            "model": {"max_frames": 2, "options": {"sim_header": "meanP"}},
            "train": {"epochs": 1, "batch_size": 6, "threads": 1},
            "embed": {"shard_rows": 4},
            **more,
        }
    )


def checksums(store):
    return {a.kind: a.checksum for a in describe_store(str(store)) if a.kind != "evaluation"}


@pytest.fixture(scope="module")
def first(prefect_server, source, tmp_path_factory):
    """The pipeline run once: its store and summary."""
    from reelvec.flows.pipeline import pipeline

    store = tmp_path_factory.mktemp("threads")
    return store, pipeline(config_of(source, store))


def test_the_summary_reconciles(first):
    _, summary = first
    assert summary.outcome.coverage.to_json() == {
        "planned": 13, "ok": 12, "salvaged": 0, "quarantined": 1, "pending": 0,
    }  # fmt: skip
    assert [row.video_id for row in summary.outcome.failures] == ["text"]
    assert summary.outcome.report.endswith(".html")
    assert {row.metric for row in summary.outcome.metrics} >= {"R@1", "R@5", "R@10", "MdR", "MnR"}
    assert any("trained on" in note for note in summary.notes), "memorising must be said"


def test_a_second_run_changes_nothing(first, source):
    from reelvec.flows.pipeline import pipeline

    store, _ = first
    before = describe_store(str(store))
    assert pipeline(config_of(source, store)).changed is False
    assert describe_store(str(store)) == before


def test_the_pipeline_is_current_without_a_flow(first, source):
    from reelvec.flows.launch import launch

    store, summary = first
    again = launch(config_of(source, store))
    assert (again.changed, again.stages) == (False, ())
    assert again.outcome == summary.outcome


def test_the_record_means_the_same_from_another_folder(first, source, tmp_path, monkeypatch):
    from reelvec.flows.launch import launch

    store, summary = first
    monkeypatch.chdir(source.parent)
    relative = config_of(source, store).model_dump(mode="json")
    relative["corpus"] |= {
        "videos": source.name,
        "captions": f"{source.name}/captions.csv",
    }
    again = launch(PipelineConfig.model_validate(relative))
    assert again.changed is False
    monkeypatch.chdir(tmp_path)
    assert counts(reelvec.open(store).run().ledger()) == summary.outcome.coverage


def test_dask_gives_the_same_checksums(first, source, tmp_path):
    """And its scheduler and workers listen on loopback alone."""
    from reelvec.flows.pipeline import pipeline

    store, _ = first
    with watching(os.getpid(), Watched()) as watched:
        pipeline(config_of(source, tmp_path, runner="dask", workers=2))
    assert checksums(tmp_path) == checksums(store)
    assert watched.listened and watched.open_doors == set()


def test_reembed_does_what_is_new_and_nothing_else(first, source, tmp_path):
    from reelvec.flows.reembed import reembed

    store, _ = first
    mine = tmp_path / "store"
    shutil.copytree(store, mine)
    assert reembed(store=str(mine)).changed is False
    added = next(path for path in source.iterdir() if path.suffix == ".mkv")
    bytes_before = added.read_bytes()
    other = next(path for path in source.iterdir() if path.suffix == ".webm")
    try:
        added.write_bytes(other.read_bytes())
        result = reembed(store=str(mine))
        assert result.changed is True
        done = {stage.stage: stage.done for stage in result.runs[0].summary.stages}
        assert done["ingest"] == {"new": 0, "changed": 1, "removed": 0}
        assert done["extract"]["new"] == 0, "these bytes were decoded already"
        assert (done["embed"]["stale"], done["embed"]["copied"]) == (1, 1)
        assert reembed(store=str(mine)).changed is False
    finally:
        added.write_bytes(bytes_before)


def test_too_many_failures_fail_the_run(prefect_server, source, tmp_path):
    from reelvec.flows.pipeline import pipeline
    from reelvec.tasks.corpus.errors import TooManyFailedError

    config = config_of(source, tmp_path)
    extract = config.extract.model_copy(update={"max_failed_fraction": 0.05})
    with pytest.raises(TooManyFailedError, match=r"1 of 13 videos failed \(1 unreadable\)"):
        pipeline(config.model_copy(update={"extract": extract}), only=["ingest", "extract"])


def test_the_ui_tells_what_came_of_it(first):
    """Artifacts by the run's name, runs and tasks named for people, a state that stands out."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
        runs = [run for run in client.read_flow_runs(limit=200) if run.name == "flows"]
        tasks = {task.name for task in client.read_task_runs(limit=200)}
    kinds = ("plan", "summary", "failures", "metrics", "recall", "cost", "progress-extract")
    assert {f"{kind}-flows" for kind in (*kinds, "numbers-train")} <= keys
    state = next(run.state for run in runs if run.state.name == "Degraded")  # others failed
    assert state.type.value == "COMPLETED"
    assert state.message.startswith("1 of 13 videos are quarantined")
    assert any(re.fullmatch(r"4 frames \([0-9a-f]{6}\)", name) for name in tasks)


def test_a_quarantined_video_is_in_every_ledger(first):
    store, _ = first
    embeddings = next(a for a in describe_store(str(store)) if a.kind == "embeddings")
    assert embeddings.counts.quarantined == 1
