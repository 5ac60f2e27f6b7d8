"""What changed in a store, and what two snapshots differ in, against a comparison row by row."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.runs import drop_runs, list_runs
from reelvec.storage.tables import read_table
from reelvec.tasks.runs.differences import compare_tables, diff_tables
from reelvec.tasks.runs.history import history
from reelvec.tasks.runs.promotion import promote, rollback, tag, untag
from tests.support.small_store import column, commit, make_store, plain_captions, plain_videos
from tests.tasks.runs.test_promotion import lose_a_video, record

ROWS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8
)


def snapshot(root, rows, *, identity, extra=False):
    artifact = Artifact.open(root, kind="embeddings", identity={"of": identity})
    keys = list(rows)
    table = {
        "video_id": pa.array(keys, pa.string()),
        "split": pa.array([str(rows[key][0]) for key in keys], pa.string()),
        "embedding": column([np.full(8, rows[key][1]) for key in keys], np.float32),
    }
    if extra:
        table["more"] = pa.array([1] * len(keys), pa.int32())
    half = len(keys) // 2
    made = [
        ("videos", pa.table(table).slice(start, count), [Outcome(key) for key in some], f"p{start}")
        for start, count, some in ((0, half, keys[:half]), (half, len(keys), keys[half:]))
        if some
    ]
    return commit(artifact, made)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=ROWS, second=ROWS)
def test_a_comparison_by_digests_is_the_comparison_row_by_row(tmp_path_factory, first, second):
    root = open_root(tmp_path_factory.mktemp("store"))
    found = compare_tables(
        snapshot(root, first, identity=1), snapshot(root, second, identity=2, extra=True)
    )
    expected = set()
    for key in first.keys() | second.keys():
        if key not in first or key not in second:
            expected.add((key, "new" if key in second else "gone", ()))
        elif first[key] != second[key]:
            names = [
                n
                for n, a, b in zip(("split", "embedding"), first[key], second[key], strict=True)
                if a != b
            ]
            expected.add((key, "changed", tuple(names)))
    assert {(row.key, row.change, row.columns) for row in found.rows} == expected
    videos, captions = found.tables
    assert videos.rows == (len(first), len(second))
    assert videos.same + len(expected) == len(first.keys() | second.keys())
    if first and second:
        assert (videos.only_first, videos.only_second) == ((), ("more",))
    assert captions.rows == (0, 0)


@pytest.fixture
def made(tmp_path):
    videos = plain_videos(6)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    record(store, "nightly")
    return store


def test_snapshots_are_named_by_run_tag_and_identity(made):
    where = made.config.store
    tag(where, "paper", "nightly")
    lose_a_video(made)
    fingerprint = made.embeddings.artifact.fingerprint
    for first, second in (
        ("paper", "nightly"), ("nightly@1", "nightly@2"), (f"{fingerprint[:8]}@1", "nightly"),
    ):  # fmt: skip
        found = diff_tables(where, first, second)
        assert [(row.key, row.change) for row in found.rows] == [("v005", "gone")]
        assert not found.is_same
    assert diff_tables(where, "nightly", "nightly@2").is_same
    with pytest.raises(MissingArtifactError, match=r"no snapshot 9 .* there are: 1, 2"):
        diff_tables(where, "nightly@9", "nightly")
    with pytest.raises(StoreError, match="after @ stands the number"):
        diff_tables(where, "nightly@last", "nightly")
    with pytest.raises(MissingArtifactError, match=r"called \(nobody\)"):
        diff_tables(where, "nobody@1", "nightly")


def test_history_says_what_when_by_which_run_and_why(made):
    where = made.config.store
    promote(where, "nightly", why="looked at")
    lose_a_video(made)  # of a run that has not ended
    later = record(made, "other")
    promote(where, later)
    rollback(where, why="too few colours")
    tag(where, "paper")
    untag(where, "paper")
    drop_runs(made.root, list_runs(made.root, name="other"))
    changes = history(where)
    assert sorted(one.when for one in changes) == [one.when for one in changes]
    assert {(one.what, one.run) for one in changes} == {
        ("completed", "nightly"), ("completed", "other"), ("published", "other"),
        ("promoted", "nightly"), ("promoted", "other"), ("rolled back", "nightly"),
        ("tagged", "nightly"), ("removed", ""), ("dropped", "other"),
    }  # fmt: skip
    (back,) = [one for one in changes if one.what == "rolled back"]
    assert (back.alias, back.number) == ("current", 3) and "too few colours" in back.why
    assert back.tables == f"{made.embeddings.artifact.fingerprint[:8]}@1"
    assert [one.what for one in history(where, name="paper")] == ["tagged", "removed"]
    assert len(read_table(made.embeddings, "videos")) == 6
    with pytest.raises(MissingArtifactError, match=r"called \(nobody\).* there are: .*nightly"):
        history(where, name="nobody")
