"""The report's section on training: curves by step, kept frames, what the model costs."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.tables import schema_text, write_table
from reelvec.tasks.reports.model_facts import billions, cost_facts, curve_of, kept_frames_of
from reelvec.tasks.reports.rendering.charts import linear_axis
from reelvec.tasks.reports.rendering.contents import KeptFrames, ReportContents
from reelvec.tasks.reports.rendering.page import render
from reelvec.tasks.reports.rendering.training import kept_frames_chart, step_charts
from reelvec.tasks.reports.report import report
from tests.models.contracts_family import make
from tests.support.small_store import make_store, plain_captions, plain_videos
from tests.tasks.reports.test_report import Page, sources_of


def steps(count, **more):
    return [
        {"step": n, "loss": 1 / n, "grad_norm": float(n), "lr_clip": 1e-7 * n, "lr_other": 1e-4 * n}
        | more
        for n in range(1, count + 1)
    ]


def test_curves_show_every_part_of_the_model_and_the_norm():
    rates, norm = map(str, step_charts(steps(40)))
    assert "Learning rate by step" in rates and "clip" in rates and "other" in rates
    assert "Gradients by step" in norm and rates.count("<path") == 2 and norm.count("<path") == 1
    assert step_charts(steps(1)) == step_charts([]) == []


def test_many_steps_are_drawn_as_means_of_neighbours():
    norm = str(step_charts(steps(90_000))[1])
    assert len(norm) < 20_000
    path = norm.partition('d="')[2].partition('"')[0]
    assert 290 <= path.count("L") + 1 <= 300


def test_a_norm_that_is_no_number_is_left_out():
    curve = [*steps(3), {**steps(4)[3], "grad_norm": float("inf")}]
    assert "inf" not in str(step_charts(curve)[1]).partition("<svg")[2]


def test_small_rates_have_an_axis():
    axis = linear_axis("learning rate", [0.0, 3e-14])
    assert axis.high >= 3e-14 and len(set(axis.ticks)) == len(axis.ticks)


def test_kept_frames_are_shares_of_videos():
    chart = str(kept_frames_chart(KeptFrames(videos=8, counts=(8, 4, 0, 2))))
    for words in (
        "of 4 (8 videos)",
        "place of the frame 1: 100.0",
        "frame 2: 50.0",
        "frame 3: 0.0",
    ):
        assert words in chart
    many = str(kept_frames_chart(KeptFrames(videos=1, counts=(1,) * 64)))
    assert many.count('class="tick middle"') <= 20, "names do not run into each other"


@pytest.fixture
def store(tmp_path):
    videos = plain_videos(4)
    return make_store(tmp_path, videos=videos, captions=plain_captions(videos))


def with_selected(store, selected):
    """Sources whose video table holds which of 4 frames were kept."""
    sources = sources_of(store)
    config = sources.config
    model = config.model.model_copy(update={"max_frames": 4})
    artifact = Artifact.open(store.root, kind="embeddings", identity={"kind": "embeddings"})
    rows = np.asarray(selected, np.int32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = pa.table({"video_id": [f"v{i}" for i in range(len(rows))], "selected": column})
    with artifact.new_part(table="videos", shard="all", suffix=".parquet") as part:
        write_table(part.path, table, metadata={})
        receipt = part.commit(
            rows=len(rows),
            schema=schema_text(table.schema),
            outcomes=[Outcome(f"v{i}") for i in range(len(rows))],
        )
    snapshot = artifact.publish(add=[receipt])
    config = config.model_copy(update={"model": model})
    return replace(sources, embeddings=snapshot, config=config)


def test_what_a_policy_kept_is_counted(store):
    found = kept_frames_of(with_selected(store, [[0, 2], [2, 3], [1, 2]]))
    assert found == KeptFrames(videos=3, counts=(1, 1, 3, 1))
    assert kept_frames_of(sources_of(store)) is None, "no policy, no chart"


def test_what_the_model_costs_is_said(store):
    model = make("clip4clip")
    origin = SimpleNamespace(encoder=lambda: SimpleNamespace(model=model))
    sources = sources_of(store)
    assert cost_facts(sources) == ()
    facts = dict(cost_facts(replace(sources, origin=origin)))
    assert facts["parameters"] == f"{sum(p.numel() for p in model.parameters()):,}"
    assert facts["MACs a video"].startswith(billions(model.macs().video))
    assert billions(52_919_450_624) == "52.92 G"


def test_a_page_without_curves_is_as_it_was(store):
    """Runs trained before there were curves, and those that train nothing."""
    assert curve_of(sources_of(store)) == ()
    page = Page(report(store.session, sources_of(store)).path.read_text())
    assert "Training loss" in page.text and "Gradients by step" not in page.text


def test_the_page_has_the_charts():
    contents = ReportContents(
        title="t",
        subtitle="s",
        made="",
        curve=tuple(steps(9)),
        kept_frames=KeptFrames(videos=2, counts=(1, 2)),
    )
    page = Page(render(contents).decode())
    for words in ("Learning rate by step", "Gradients by step", "Frames kept, of 2 (2 videos)"):
        assert words in page.text
    assert b'id="training"' not in render(replace(contents, curve=(), kept_frames=None))
