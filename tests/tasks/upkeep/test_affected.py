"""Whose frames and rows a damage took: ids of the corpus that is meant, and of no other."""

import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import write_table
from reelvec.storage.upkeep.verify import Damage
from reelvec.tasks.upkeep.affected import affected_videos
from tests.storage.commits.contracts import flip_bit


def corpus_of(root, name, *, videos, captions):
    artifact = Artifact.open(root, kind="corpus", identity={"name": name})
    receipts = []
    for table, schema, rows in (
        ("videos", VIDEO_SCHEMA, videos),
        ("captions", CAPTION_SCHEMA, captions),
    ):
        with artifact.new_part(table=table, shard="0", suffix=".parquet") as part:
            write_table(part.path, records_to_table(rows, schema=schema), metadata={})
            receipts.append(part.commit(rows=len(rows), outcomes=[Outcome(str(r)) for r in rows]))
    artifact.publish(add=receipts)
    return artifact


@pytest.fixture
def stores(tmp_path):
    """Two corpora: the caption ids are the same, one video's bytes are in both."""
    root = open_root(tmp_path)
    one = corpus_of(
        root,
        "one",
        videos=[Video("cat", "c.mp4", content_hash="aa"), Video("dog", "d.mp4", content_hash="bb")],
        captions=[Caption("1", "cat", "a cat"), Caption("2", "dog", "a dog")],
    )
    other = corpus_of(
        root,
        "other",
        videos=[Video("emu", "e.mp4", content_hash="aa")],
        captions=[Caption("1", "emu", "an emu")],
    )
    return root, one, other


def damage(kind, *keys, fingerprint="0" * 32):
    return Damage(kind, fingerprint, "path", "what", keys)


def test_clips_are_named_by_every_corpus_that_has_them(stores):
    root, _, _ = stores
    found = affected_videos(root, [damage("frames", "aa"), damage("frames", "bb", "gone")])
    assert found == [("cat", "emu"), ("dog", "gone")]


def test_rows_are_named_by_their_own_corpus(stores):
    root, one, other = stores
    tables = Artifact.open(root, kind="embeddings", identity={"corpus": other.fingerprint})
    found = affected_videos(
        root,
        [
            damage("corpus", "1", "dog", fingerprint=one.fingerprint),
            damage("embeddings", "1", fingerprint=tables.fingerprint),
        ],
    )
    assert found == [("cat", "dog"), ("emu",)]


def test_other_damage_names_none(stores):
    assert affected_videos(stores[0], [damage("checkpoint", "1"), damage("runs")]) == [(), ()]


def test_a_damaged_corpus_names_what_is_left_of_it(stores, tmp_path):
    root, one, _ = stores
    (part,) = (tmp_path / one.folder / "parts").glob("videos-*")
    flip_bit(part, 999)
    rows = damage("corpus", "dog", "2", fingerprint=one.fingerprint)
    assert affected_videos(root, [rows]) == [("dog",)]
    assert affected_videos(root, [damage("frames", "aa", "bb")]) == [("bb", "emu")]
