"""One page from tables: escaped, deterministic, traceable, made once."""

import base64
import csv
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from reelvec.configs.schema import EvaluateConfig, TrainConfig
from reelvec.storage.kept_pages import LATEST, kept_page
from reelvec.storage.records import Caption, Outcome
from reelvec.storage.runs import RunRecord
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.reports import gathering
from reelvec.tasks.reports.gallery import choose_queries
from reelvec.tasks.reports.notes import notes_of
from reelvec.tasks.reports.rendering.charts import Axis, compact, linear_axis
from reelvec.tasks.reports.rendering.gallery import FRAME_PIXELS, strip_jpeg
from reelvec.tasks.reports.rendering.markup import Markup, tag
from reelvec.tasks.reports.report import is_reported, report, report_in_force
from reelvec.tasks.reports.sources import Against, ReportSources, report_sources
from reelvec.tasks.scoring.coverage import coverage_rows
from reelvec.tasks.scoring.evaluate import evaluate, read_moments
from tests.support.small_store import make_store, plain_captions, plain_videos, video

EVIL = "<script>alert('x')</script> & \"quotes\""
RUN = RunRecord(
    name="fake",
    config={},
    stages=[
        {"name": "extract", "seconds": 12.5, "counts": {"new": 9, "again": 0}},
        {"name": "train", "seconds": 87.5, "counts": {"steps": 300}},
    ],
    started="2026-08-01T10:00:00+00:00",
    ended="2026-08-01T10:01:40+00:00",
)


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text; checks that tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "hr", "input"})

    def __init__(self, data):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], [], []
        self.feed(data)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def sources_of(store, *, config=None, **more):
    config = config or store.config
    options = EvaluateConfig(bootstrap=50, published={"t2v/R@1": 44.5}, published_source="a paper")
    config = config.model_copy(update={"evaluate": options})
    made = evaluate(store.session, store.embeddings, corpus=store.corpus, options=options)
    return ReportSources(
        config=config,
        corpus=store.corpus,
        frames=store.frames,
        embeddings=store.embeddings,
        evaluation=made.snapshot,
        run=RUN,
        history=(
            {"epoch": 1.0, "loss": 3.5, "lr": 1e-4, "R@1": 12.0},
            {"epoch": 2.0, "loss": 2.0, "lr": 1e-4, "R@1": 30.0},
        ),
        best_epoch=2,
        checkpoint=SnapshotRef(store.root.uri, "checkpoint", "cc" * 16, 7),
        **more,
    )


@pytest.fixture
def store(tmp_path):
    videos = [
        *plain_videos(10, train=3),
        video(10, status="quarantined", reason="missing", message=f"no file {EVIL}"),
    ]
    captions = plain_captions(videos)
    captions[5] = replace(captions[5], text=EVIL, subset="motion")
    failed = {
        "v004": Outcome("", "quarantined", "truncated", "moov atom not found"),
        "v007": Outcome("", "salvaged", "damaged", "bytestream error", '{"kept": 0.71}'),
    }
    return make_store(tmp_path, videos=videos, captions=captions, failed=failed)


def test_the_page_says_what_it_must(store):
    made = report(store.session, sources_of(store))
    page = Page(made.path.read_text())
    for words in (
        "fake", "95 %", "44.5", "a paper", "moov atom not found", "truncated", "missing",
        "bytestream error", '{"kept": 0.71}', "salvaged", "1 min 28 s",
        "300 steps", "Run of 2026-08-01 10:00:00 UTC, 1 min 40 s",
        store.embeddings.artifact.fingerprint, store.corpus.ref.fingerprint,
        store.frames.artifact.fingerprint, "ab" * 16, "cc" * 16, "checkpoint snapshot 7",
        "torch", "Found first", "could not be used", "epoch 2 was used",
    ):  # fmt: skip
        assert words in page.text, words
    rows = [name for name, value in page.attributes if name == "src"]
    assert len(rows) >= 5
    assert all(v.startswith("data:image/jpeg;base64,") for n, v in page.attributes if n == "src")


def test_only_our_script_runs_in_it_and_nothing_loads(store):
    text = report(store.session, sources_of(store)).path.read_text()
    page = Page(text)
    assert not {"link", "iframe", "object", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [v for n, v in page.attributes if n in ("href", "src", "action")]
    assert all(v.startswith(("#", "data:image/jpeg", "data:text/csv")) for v in addresses)
    assert EVIL in page.text  # as words: in a caption and in a decoder's message
    data, script = re.findall("<script[^>]*>(.*?)</script>", text, re.DOTALL)
    assert page.tags.count("script") == 2 and "<" not in data
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [v for n, v in page.attributes if n == "content" and v.startswith("default-src")]
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy


def data_of(page):
    return json.loads(re.search('id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_every_query_is_in_it_in_both_directions(store):
    sources = sources_of(store)
    data = data_of(report(store.session, sources).path)
    sets = {one["direction"]: one["rows"] for one in data["sets"]}
    for direction, table in (("t2v", "ranks"), ("v2t", "video_ranks")):
        rows = read_table(sources.evaluation, table).to_pylist()
        assert [(data["videos"][row[2]], row[3]) for row in sets[direction]] == [
            (row["video_id"], row["rank"]) for row in rows
        ]
    texts = {caption.caption_id: caption.text for caption in store.corpus.captions}
    assert all(row[1] == texts[row[0]] for row in sets["t2v"])
    assert EVIL in [row[1] for row in sets["t2v"]]
    named = {number for row in sets["t2v"] for number in (row[2], *row[5])}
    assert set(map(int, data["pictures"])) == named


def test_pictures_end_where_a_page_would_grow_too_large(store, monkeypatch):
    whole = report(store.session, sources_of(store)).path
    told = store.config.model_copy(update={"notes": "Smaller."})
    for spare in (1200, 10**6):
        most = whole.stat().st_size - spare
        monkeypatch.setattr(gathering, "PAGE_BYTES", most)
        page = report(store.session, sources_of(store, config=told)).path
        pictures = len(data_of(page)["pictures"])
        if spare == 1200:
            assert page.stat().st_size <= most and 0 < pictures < len(data_of(whole)["pictures"])
        else:
            assert pictures == 0, "its words alone are more"
        assert data_of(page)["sets"] == data_of(whole)["sets"], "every query is in it"
        told = store.config.model_copy(update={"notes": "Smallest."})


def csv_of(page, name):
    pattern = f'download="{name}" href="data:text/csv;charset=utf-8;base64,(.*?)"'
    found = base64.b64decode(re.search(pattern, page.read_text())[1]).decode()
    return list(csv.DictReader(found.splitlines()))


def test_numbers_are_saved_as_csv(store):
    sources = sources_of(store)
    page = report(store.session, sources).path
    metrics = read_table(sources.evaluation, "metrics").to_pylist()
    assert [float(row["value"]) for row in csv_of(page, "metrics.csv")] == [
        row["value"] for row in metrics
    ]
    assert {row["video_id"] for row in csv_of(page, "failures.csv")} == {"v004", "v007", "v010"}


def test_what_windows_scored_is_on_the_page(film_store, store):
    session = Session(film_store)
    sources = report_sources(session)
    made = report(session, sources)
    page = Page(made.path.read_text())
    told = {row.metric: row for row in read_moments(sources.evaluation)}
    for metric in ("R1@0.5", "R1@0.7", "mAP"):
        row = told[metric]
        line = f"{metric} {row.value:.1f} % {row.low:.1f} – {row.high:.1f} {row.n}"
        assert line in page.text, line
    assert [row["metric"] for row in csv_of(made.path, "moments.csv")] == list(told)
    assert ("href", "#moments") in page.attributes
    without = report(store.session, sources_of(store)).path.read_text()
    assert "#moments" not in without


def test_another_run_is_compared_query_by_query_on_a_page_of_its_own(store, tmp_path):
    sources = sources_of(store)
    (tmp_path / "other").mkdir()
    other = make_store(
        tmp_path / "other",
        videos=list(store.corpus.videos),
        captions=list(store.corpus.captions)[1:],
        seed=5,
    )
    theirs = sources_of(other).evaluation
    plain = report(store.session, sources)
    against = Against(name="other", evaluation=theirs)
    made = report(store.session, replace(sources, against=against))
    assert (
        plain.path.exists() and made.path != plain.path and len(made.snapshot.parts("report")) == 2
    )
    assert report(store.session, sources).path == plain.path
    assert not report(store.session, replace(sources, against=against)).fresh
    rows = {(row["direction"], row["metric"]): row for row in csv_of(made.path, "compared.csv")}
    for direction, table, key in (
        ("t2v", "ranks", "caption_id"),
        ("v2t", "video_ranks", "video_id"),
    ):
        ranks = [
            {row[key]: row["rank"] for row in read_table(one, table).to_pylist()}
            for one in (theirs, sources.evaluation)
        ]
        both = [(ranks[0][name], ranks[1][name]) for name in ranks[1] if name in ranks[0]]
        row = rows[direction, "R@1"]
        assert int(row["count"]) == len(both)
        for place, name in enumerate(("old", "new")):
            hits = [pair[place] <= 1 for pair in both]
            assert float(row[name]) == pytest.approx(100 * sum(hits) / len(hits))
        assert float(row["low"]) <= float(row["new"]) - float(row["old"]) <= float(row["high"])
        (found,) = [one for one in data_of(made.path)["sets"] if one["direction"] == direction]
        assert {line[0]: line[7] for line in found["rows"]} == {
            name: ranks[0].get(name) for name in ranks[1]
        }


def test_a_run_that_scored_none_of_the_queries_is_said(store):
    unscored = replace(sources_of(store), against=Against(name="raw", evaluation=None))
    page = Page(report(store.session, unscored).path.read_text())
    assert "Compared with raw" in page.text and "not scored" in page.text


def test_the_last_page_has_a_name_that_stays(store):
    told = store.config.model_copy(update={"notes": "Trained on very little.", "name": "a/b c"})
    for config in (store.config, told):
        made = report(store.session, sources_of(store, config=config))
        kept = kept_page(store.root, LATEST)
        assert kept.read_bytes() == made.path.read_bytes()
    assert kept_page(store.root, "a/b c").name == "a-b-c.html"
    assert kept_page(store.root, "a/b c").read_bytes() == kept.read_bytes()
    assert kept_page(store.root, "../..").parent == kept.parent
    assert sorted(one.name for one in kept.parent.iterdir()) == [
        "a-b-c.html", "fake.html", "latest.html",
    ]  # fmt: skip


def test_a_second_report_changes_nothing_and_new_notes_draw_it_again(store):
    sources = sources_of(store)
    first = report(store.session, sources)
    later = replace(RUN, started="2027-01-01T00:00:00+00:00")
    again = report(store.session, replace(sources, run=later))
    assert (first.fresh, again.fresh, again.path) == (True, False, first.path)
    told = store.config.model_copy(update={"notes": "Trained on very little."})
    noted = report(store.session, sources_of(store, config=told))
    assert noted.fresh
    assert "Trained on very little." in noted.path.read_text()
    assert len(noted.snapshot.parts("report")) == 1
    # the tables are still those that were scored
    assert noted.snapshot.rows_of("ranks") == first.snapshot.rows_of("ranks")


def test_equal_runs_give_equal_bytes(tmp_path):
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        videos = plain_videos(8)
        store = make_store(tmp_path / name, videos=videos, captions=plain_captions(videos))
        # the corpus identity holds the folder's path: everything else is equal
        page = report(store.session, sources_of(store)).path.read_text()
        for said in (store.corpus.ref.fingerprint,):
            page = page.replace(said, "CORPUS")
        pages.append(page)
    assert pages[0] == pages[1]


def test_scoring_what_was_trained_on_is_said(tmp_path):
    videos = [video(i, split="") for i in range(6)]
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    sources = replace(sources_of(store), trained_on=frozenset(map(key_of, videos[:4])))
    said = "4 of the 6 scored videos were trained on"
    assert said in report(store.session, sources).path.read_text()
    untrained = store.config.model_copy(update={"train": TrainConfig(epochs=0)})
    page = report(store.session, sources_of(store, config=untrained)).path.read_text()
    assert "were trained on" not in page
    assert "The weights are random" in page
    chosen = store.config.model_copy(update={"train": TrainConfig(selection_split="test")})
    page = report(store.session, sources_of(store, config=chosen)).path.read_text()
    assert "chosen on the test split" in page


def test_what_came_after_the_training_is_said(tmp_path):
    videos = plain_videos(12, train=5)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    sources = replace(sources_of(store), trained_on=frozenset(map(key_of, videos[:3])))
    page = report(store.session, sources).path.read_text()
    assert "2 videos of the training split came after this model was trained" in page
    assert "were trained on" not in page


def test_what_has_no_caption_did_not_come_after_the_training(tmp_path):
    videos = plain_videos(12, train=5)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos[1:3] + videos[5:]))
    sources = replace(sources_of(store), trained_on=frozenset(map(key_of, videos[1:3])))
    assert "came after this model" not in report(store.session, sources).path.read_text()


def test_without_captions_there_is_still_a_page(tmp_path):
    store = make_store(tmp_path, videos=plain_videos(5), captions=[])
    page = Page(report(store.session, sources_of(store)).path.read_text())
    assert "has no captions: nothing was scored" in page.text
    assert "Coverage and failures" in page.text
    assert "Recall at k" not in page.text


def test_without_captions_every_video_stands_with_its_nearest(tmp_path):
    store = make_store(tmp_path, videos=plain_videos(8), captions=[])
    data = data_of(report(store.session, sources_of(store)).path)
    (near,) = data["sets"]
    assert near["direction"] == "near"
    assert [row[0] for row in near["rows"]] == sorted(store.videos)
    for row in near["rows"]:
        others = {
            name: float(vector @ store.videos[row[0]])
            for name, vector in store.videos.items()
            if name != row[0]
        }
        best = sorted(others, key=lambda name: -others[name])[:5]
        assert [data["videos"][number] for number in row[5]] == best
        assert row[6] == pytest.approx([others[name] for name in best], abs=1e-4)
    assert len(data["pictures"]) == 8


def row(caption, rank, *, own=0.5, top=()):
    ids = [video for video, _ in top]
    return {
        "caption_id": caption,
        "video_id": f"v-{caption}",
        "subset": "",
        "rank": rank,
        "score": own,
        "top_video_ids": ids,
        "top_scores": [score for _, score in top],
    }


def test_queries_are_chosen_by_margin_closeness_and_distance():
    rows = [
        row("slim", 1, own=0.50, top=[("v-slim", 0.50), ("x", 0.49)]),
        row("wide", 1, own=0.50, top=[("v-wide", 0.50), ("x", 0.10)]),
        row("second", 2, top=[("x", 0.9), ("v-second", 0.5)]),
        row("tenth", 10, top=[("x", 0.9)]),
        row("lost", 70, top=[("x", 0.9)]),
        row("worst", 80, top=[("x", 0.9)]),
    ]
    chosen = [[r["caption_id"] for r in group] for _, group in choose_queries(rows)]
    assert chosen == [["wide", "slim"], ["second", "tenth"], ["worst", "lost"]]
    assert choose_queries(rows[::-1]) == choose_queries(rows)


def test_a_video_is_shown_once_a_kind():
    rows = [row(str(i), 1, top=[("x", 0.1)]) | {"video_id": "same"} for i in range(9)]
    assert len(choose_queries(rows)[0][1]) == 1


def test_markup_escapes_all_but_itself():
    made = tag("p", EVIL, tag("b", "<"), [None, 3, ["x", "&"]], title='"<>', hidden=True, no=None)
    assert made == (
        '<p title="&quot;&lt;&gt;" hidden>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; '
        "&quot;quotes&quot;<b>&lt;</b>3x&amp;</p>"
    )
    assert isinstance(made, Markup)
    assert not isinstance(made + "<", Markup)  # joining gives a plain string, escaped again


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [1e-6, 2e-6], [0, 97.3], [-3.0, 8.0], [1e9, 3e9], [float("nan")]]
)
def test_axes_cover_their_values_with_few_round_ticks(values):
    axis = linear_axis("y", values)
    finite = [v for v in values if np.isfinite(v)]
    assert 2 <= len(axis.ticks) <= 8
    assert all(0 <= axis.place(v) <= 1 + 1e-9 for v in finite)
    steps = np.diff(axis.ticks)
    assert np.allclose(steps, steps[0])


def test_a_log_axis_puts_the_geometric_mean_in_the_middle():
    assert Axis("k", 1, 100, (1, 10, 100), log=True).place(10) == pytest.approx(0.5)


def test_strips_hold_the_frames_side_by_side():
    import io

    from PIL import Image

    frames = np.zeros((3, 40, 40, 3), np.uint8)
    frames[1] = (250, 10, 10)
    picture = Image.open(io.BytesIO(strip_jpeg(frames)))
    assert picture.height == FRAME_PIXELS
    middle = picture.getpixel((picture.width // 2, FRAME_PIXELS // 2))
    assert middle[0] > 200
    assert middle[1] < 60
    assert strip_jpeg(frames[:0]) == b""


def test_captions_are_shown_as_written(tmp_path):
    videos = plain_videos(4, train=0)
    captions = [Caption(f"c{i}", v.video_id, f"日本語 {i} é") for i, v in enumerate(videos)]
    store = make_store(tmp_path, videos=videos, captions=captions)
    assert "日本語 0 é" in report(store.session, sources_of(store)).path.read_text(encoding="utf-8")


def test_a_split_nobody_is_in_is_named_with_those_there_are(tmp_path):
    store = make_store(tmp_path, videos=plain_videos(5, train=5), captions=[])
    sources = sources_of(store)
    rows = coverage_rows(store.corpus, embeddings=store.embeddings, split="test")
    (note,) = [note for note in notes_of(sources, rows) if "nothing was scored" in note]
    assert "No video is in the split 'test'" in note and "has train; set evaluate.split" in note


def test_another_run_sees_the_page_there_is_and_knows_it_is_not_its_own(tmp_path):
    store = make_store(tmp_path, videos=plain_videos(5), captions=plain_captions(plain_videos(5)))
    sources = sources_of(store)
    assert report_in_force(sources.evaluation) is None
    assert not is_reported(store.session, sources)
    made = report(store.session, sources)
    assert report_in_force(made.snapshot) == made.path
    assert is_reported(store.session, sources)
    embedding = store.config.model_copy(update={"train": TrainConfig(epochs=0)})
    other = sources_of(store, config=embedding)
    assert not is_reported(store.session, other)


@pytest.mark.parametrize(
    ("videos", "told"),
    [(5, ["Only 5 videos are scored"]), (1, ["Only 1 video is scored"]), (30, [])],
)
def test_a_test_set_that_says_little_is_told(tmp_path, videos, told):
    listed = plain_videos(videos, train=0)
    store = make_store(tmp_path, videos=listed, captions=plain_captions(listed))
    sources = sources_of(store)
    rows = coverage_rows(store.corpus, embeddings=store.embeddings, split="test")
    notes = [note for note in notes_of(sources, rows) if "the intervals say little" in note]
    assert [note.partition(":")[0] for note in notes] == told


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.0, "0"), (0.0004, "4e-4"), (-0.00025, "-2.5e-4"), (0.001, "0.001"), (0.25, "0.25"),
        (12.0, "12"), (1234.5, "1,234"), (2e15, "2e+15"),
    ],
)  # fmt: skip
def test_labels_of_ticks_are_short(value, label):
    assert compact(value) == label
