"""How many objects a plan holds, and how many files a night adds to a store: not one a row."""

import gc
import sys

import pytest

from reelvec.storage.commits import ledgers
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.corpora import caption_list, listed_ids, video_list
from reelvec.storage.corpora.own import caption_columns, distinct_videos, file_columns, named_files
from reelvec.storage.records import Outcome
from reelvec.tasks.corpus import caption_changes, forgotten, listed_columns, video_columns
from reelvec.tasks.embedding import differences
from tests.benchmarks import growth
from tests.support.hasty_root import HastyRoot

ROWS = (1000, 4000)
AT_ONCE = 64
"""Rows that are looked at together, so that both sizes are many pieces."""
MOST_A_ROW = 0.8
"""Python's blocks of memory, those of parts and receipts of 64 rows among them."""
IN_PIECES = (
    caption_changes, caption_columns, differences, file_columns, forgotten, listed_columns,
    listed_ids, named_files, video_columns, video_list,
)  # fmt: skip
PLANS = [
    growth.nothing_to_ingest,
    growth.nothing_to_ingest_with_captions,
    growth.nothing_to_extract,
    growth.nothing_to_embed,
    growth.ledger_in_short,
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores with nothing to do by the number of their videos."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "CAPTIONS_A_VIDEO", 1)  # parts of captions that are no larger
        for videos in ROWS:
            folders[videos] = folder = tmp_path_factory.mktemp("rows")
            growth.generate(folder, videos=videos)
    return folders


@pytest.fixture
def in_small_pieces(monkeypatch):
    """As with so many rows that none of these limits matters."""
    for module in IN_PIECES:
        monkeypatch.setattr(module, "_ROWS", AT_ONCE)
    monkeypatch.setattr(distinct_videos, "_AT_LEAST", AT_ONCE)
    monkeypatch.setattr(ledgers, "_KEPT_ROWS", 0)
    chunk = {"chunk": AT_ONCE}
    monkeypatch.setattr(caption_list.CaptionList.__init__, "__kwdefaults__", chunk)


def most_objects(work, *arguments):
    """How many blocks of Python's memory more there are at once while `work` runs."""
    most = calls = 0

    def look(*_):
        nonlocal most, calls
        calls += 1
        if calls % 8 == 0:  # a look takes a while
            most = max(most, sys.getallocatedblocks())

    gc.collect()
    before, other = sys.getallocatedblocks(), sys.getprofile()
    sys.setprofile(look)
    try:
        work(*arguments)
    finally:
        sys.setprofile(other)
    return most - before


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
def test_a_plan_makes_no_object_a_row(stores, plan):
    plan(growth.session_of(stores[ROWS[0]]))  # what is made once by whoever plans first
    few, many = (most_objects(plan, growth.session_of(stores[videos])) for videos in ROWS)
    assert (many - few) / (ROWS[1] - ROWS[0]) < MOST_A_ROW, f"{few} and {many} objects"


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_night_adds_as_many_files_as_the_nights_before_it(tmp_path):
    artifact = Artifact.open(HastyRoot(tmp_path), kind="frames", identity={"of": "a test"})
    added, known = [], files_in(tmp_path)
    for night in range(40):
        with artifact.new_part(table="frames", shard=str(night), suffix=".arrow") as part:
            part.path.write_bytes(b"not read")
            receipt = part.commit(rows=1, outcomes=[Outcome(f"clip {night}")])
        artifact.publish(add=[receipt])
        now = files_in(tmp_path)
        assert known <= now, "what is published stays"
        added.append(len(now - known))
        known = now
    assert set(added[1:]) == {3}, "a part, its receipt and a snapshot"
