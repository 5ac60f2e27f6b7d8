from __future__ import annotations

import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.storage import tables
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.receipts import Receipt
from reelvec.storage.errors import (
    IdentityError,
    IntegrityError,
    MissingArtifactError,
    NotFiniteError,
)
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import (
    IDENTITY,
    concat_tables,
    identity_metadata,
    iter_tables,
    read_table,
    schema_text,
    write_table,
)


def embeddings(keys: list[str], *, dtype: type = np.float32, seed: int = 0) -> pa.Table:
    values = np.random.default_rng(seed).random(len(keys) * 8).astype(dtype)
    return pa.table(
        {
            "video_id": pa.array(keys, pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values), 8),
            "frames": pa.array(range(len(keys)), pa.int64()),
        }
    )


def add_part(artifact: Artifact, table: pa.Table) -> Receipt:
    keys = table["video_id"].to_pylist()
    with artifact.new_part(table="videos", shard="0", suffix=".parquet") as part:
        metadata = identity_metadata(artifact.identity)
        write_table(part.path, table, metadata=metadata, row_group_rows=3)
        return part.commit(
            rows=len(keys),
            schema=schema_text(table.schema),
            outcomes=[Outcome(k) for k in keys],
        )


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(open_root(tmp_path / "s"), kind="embeddings", identity={"weights": "ab"})


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_come_back_with_their_types(artifact: Artifact, dtype: type) -> None:
    table = embeddings(list("abcdefgh"), dtype=dtype)
    snapshot = artifact.publish(add=[add_part(artifact, table)])
    again = read_table(snapshot, "videos")
    assert again.schema.field("embedding").type.value_type == pa.from_numpy_dtype(dtype)
    assert again.to_pylist() == table.to_pylist()
    assert read_table(snapshot, "videos", columns=["frames"]).column_names == ["frames"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, embeddings(list("abc")), metadata={"x": "1", "a": "2"})
        time.sleep(1.1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    write_table(tmp_path / "three", embeddings(list("abc")), metadata={"a": "2", "x": "1"})
    assert (tmp_path / "three").read_bytes() == (tmp_path / "one").read_bytes()


def test_text_is_packed_and_vectors_are_not(tmp_path: Path) -> None:
    """Vectors hardly shrink, and unpacking them would be half of the time that reading takes."""
    table = embeddings(list("abc")).append_column("best", pa.array([["a", "b"]] * 3))
    write_table(tmp_path / "t", table, metadata={})
    group = pq.read_metadata(tmp_path / "t").row_group(0)
    columns = {one.path_in_schema: one for one in map(group.column, range(group.num_columns))}
    packed = {name: one.compression for name, one in columns.items()}
    assert packed["video_id"] == packed["best.list.element"] == "ZSTD"
    assert packed["embedding.list.element"] == "UNCOMPRESSED"
    assert columns["best.list.element"].has_dictionary_page
    assert not columns["embedding.list.element"].is_stats_set
    assert pq.read_table(tmp_path / "t").equals(table)


def test_records_keep_their_schema(tmp_path: Path, artifact: Artifact) -> None:
    videos = [Video("a", "/x/a.mp4", start_seconds=None, end_seconds=1.5), Video("é/\0", "/y")]
    captions = [Caption("1", "a", 'a dog, "running"\n'), Caption("2", "a", "")]
    for records, schema in ((videos, VIDEO_SCHEMA), (captions, CAPTION_SCHEMA)):
        table = records_to_table(records, schema=schema)
        with artifact.new_part(table="t", shard="0", suffix=".parquet") as part:
            write_table(part.path, table, metadata={})
            receipt = part.commit(rows=2)
        snapshot = artifact.publish(add=[receipt], replace=[p.part for p in _parts(artifact)])
        again = read_table(snapshot, "t")
        assert again.schema.remove_metadata() == schema
        assert [type(records[0])(**row) for row in again.to_pylist()] == records


def _parts(artifact: Artifact) -> list:
    latest = artifact.latest()
    return latest.parts() if latest else []


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh"))),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 4),
    st.sampled_from([0, tables._SMALL]),
)
def test_superseded_rows_are_left_out(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[set[str], set[str]]],
    batch_rows: int,
    small: int,
) -> None:
    root = open_root(tmp_path_factory.mktemp("s"))
    artifact = Artifact.open(root, kind="embeddings", identity={"w": 1})
    expected: dict[str, list[float]] = {}
    for seed, (keys, gone) in enumerate(steps):
        table = embeddings(sorted(keys), seed=seed)
        snapshot = artifact.publish(add=[add_part(artifact, table)], supersede={"videos": gone})
        rows = {row["video_id"]: row["embedding"] for row in table.to_pylist()}
        expected = rows | {key: row for key, row in expected.items() if key not in gone}
    with pytest.MonkeyPatch.context() as patch:  # as small and as large parts are read
        patch.setattr(tables, "_SMALL", small)
        found = read_table(snapshot, "videos", schema=embeddings([]).schema)
        pieces = list(iter_tables(snapshot, "videos", columns=["frames"], batch_rows=batch_rows))
    assert dict(zip(*found.select([0, 1]).to_pydict().values(), strict=True)) == expected
    assert found.num_rows == len(expected) == snapshot.rows
    assert all(piece.num_rows <= batch_rows for piece in pieces)
    assert all(piece.column_names == ["frames"] for piece in pieces)
    assert sum(piece.num_rows for piece in pieces) == len(expected)


def test_different_identities_are_not_combined(artifact: Artifact) -> None:
    other = Artifact.open(artifact.root, kind="embeddings", identity={"weights": "cd"})
    tables = [
        read_table(a.publish(add=[add_part(a, embeddings([a.identity["weights"]]))]), "videos")
        for a in (artifact, other)
    ]
    assert tables[0].schema.metadata[IDENTITY.encode()] == b'{"weights":"ab"}'
    with pytest.raises(IdentityError) as caught:
        concat_tables(tables)
    assert '"ab"' in str(caught.value) and '"cd"' in str(caught.value)
    assert concat_tables([tables[0], tables[0]]).num_rows == 2
    with pytest.raises(IdentityError, match="no identity"):
        concat_tables([tables[0], tables[0].replace_schema_metadata(None)])


def test_a_table_that_is_not_there(artifact: Artifact) -> None:
    snapshot = artifact.publish()
    with pytest.raises(MissingArtifactError, match="no table 'videos'"):
        read_table(snapshot, "videos")
    schema = embeddings([]).schema
    assert read_table(snapshot, "videos", schema=schema).schema == schema
    assert read_table(snapshot, "videos", schema=schema, columns=["frames"]).num_columns == 1


def test_a_part_that_is_no_parquet_is_named(artifact: Artifact) -> None:
    with artifact.new_part(table="videos", shard="0", suffix=".parquet") as part:
        part.path.write_bytes(b"junk" * 100)
        receipt = part.commit(rows=0)
    with pytest.raises(IntegrityError, match="no Parquet file"):
        read_table(artifact.publish(add=[receipt]), "videos")


def test_others_open_it(artifact: Artifact) -> None:
    table = embeddings(list("abcd"))
    snapshot = artifact.publish(add=[add_part(artifact, table)])
    path = snapshot.parts("videos")[0].path
    assert pd.read_parquet(path)["video_id"].tolist() == list("abcd")
    query = f"select video_id, embedding[1] from '{path}' order by 1"  # noqa: S608
    assert [row[0] for row in duckdb.sql(query).fetchall()] == list("abcd")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_that_are_not_finite_are_never_written(
    artifact: Artifact, value: float, dtype: type
) -> None:
    """Whatever the column: one vector, or vectors of vectors of a chunked table."""
    table = embeddings(["a", "b", "c"], dtype=dtype)
    flat = np.zeros(24, dtype)
    flat[17] = value  # of row c
    nested = pa.ListArray.from_arrays(
        pa.array([0, 1, 1, 3], pa.int32()), pa.FixedSizeListArray.from_arrays(pa.array(flat), 8)
    )
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat), 8)
    add_part(artifact, table)
    for bad in (column, nested):
        whole = (
            pa.concat_tables([table, table.set_column(1, "embedding", bad)][:2])
            if (bad is column)
            else table.set_column(1, "embedding", bad)
        )
        with pytest.raises(NotFiniteError, match=r"the row \(c\) holds NaN or infinity in its"):
            add_part(artifact, whole)
    assert len(artifact.orphan_receipts()) == 1
