"""Many small parts into few large ones, in memory that does not grow with them.

Parts are copied as they are stored (a JPEG is not encoded again), superseded rows are left
behind, and one snapshot replaces the old parts by the new. A row somebody supersedes meanwhile
stays superseded (`storage.commits.merging.Change.replace`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import COMPACTED, Receipt
from reelvec.storage.commits.views import PartRef
from reelvec.storage.errors import StoreError
from reelvec.storage.frames.formats import SUFFIXES, format_of, open_reader, open_writer
from reelvec.storage.records import Outcome
from reelvec.storage.tables import iter_part, open_parquet

__all__ = ["compact"]

_ROWS = 4096


def compact(artifact: Artifact, *, target_bytes: int = 1 << 28) -> Snapshot | None:
    """Merges neighbouring parts of each table until they reach about `target_bytes`.

    Parts that are large enough and have no superseded rows are left alone. Returns the snapshot
    that holds the result (the latest one where there was nothing to do; None where there is none).

    Raises:
        IntegrityError: a part is damaged; nothing is published.
        StoreError: no room for the new parts; nothing is published.
    """
    snapshot = artifact.latest()
    if snapshot is None:
        return None
    with artifact.pinned(snapshot.number):
        made: list[Receipt] = []
        replaced: list[str] = []
        for group in _groups(snapshot, target_bytes=target_bytes):
            made.append(_merge_parts(artifact, group))
            replaced.extend(part.part for part in group)
        if not made:
            return snapshot
        note = f"compacted {len(replaced)} parts into {len(made)}"
        return artifact.publish(add=made, replace=replaced, note=note)


def _groups(snapshot: Snapshot, *, target_bytes: int) -> Iterator[list[PartRef]]:
    """Runs of neighbouring small parts of one table, schema and format."""
    for table in snapshot.tables:
        group: list[PartRef] = []
        for part in snapshot.parts(table):
            if not part.receipt.outcomes:
                continue  # no table of outcomes (a checkpoint): nothing to merge
            room = sum(other.entry.bytes for other in group) + part.entry.bytes <= target_bytes
            if group and not (room and _like(group[0], part)):
                yield from _worth(group)
                group = []
            if part.entry.bytes >= target_bytes and not part.dropped:
                continue
            group.append(part)
        yield from _worth(group)


def _like(one: PartRef, other: PartRef) -> bool:
    same = one.receipt.schema == other.receipt.schema
    return same and Path(one.part).suffix == Path(other.part).suffix


def _worth(group: list[PartRef]) -> Iterator[list[PartRef]]:
    if len(group) > 1 or any(part.dropped for part in group):
        yield group


def _merge_parts(artifact: Artifact, group: Sequence[PartRef]) -> Receipt:
    first = group[0]
    suffix = Path(first.part).suffix
    outcomes: list[Outcome] = [row for part in group for row in part.outcomes()]
    with artifact.new_part(table=first.entry.table, shard=first.entry.shard, suffix=suffix) as new:
        if suffix == ".parquet":
            rows = _copy_rows(group, new.path)
        elif suffix in SUFFIXES.values():
            rows = _copy_clips(group, new.path)
        else:
            raise StoreError(f"parts of type {suffix} cannot be compacted ({first.part})")
        return new.commit(
            rows=rows,
            schema=first.receipt.schema,
            outcomes=outcomes,
            extra={**first.receipt.extra, COMPACTED: len(group)},
        )


def _copy_rows(group: Sequence[PartRef], path: Path) -> int:
    schema = pq.read_schema(group[0].path)
    count = 0
    with open_parquet(path, schema) as writer:
        for part in group:
            for rows in iter_part(part, batch_rows=_ROWS):
                writer.write_table(rows.cast(schema), row_group_size=_ROWS)
                count += rows.num_rows
    return count


def _copy_clips(group: Sequence[PartRef], path: Path) -> int:
    head = open_reader(group[0].path)
    count = 0
    with open_writer(path, format=format_of(path), payload=head.payload, size=head.size) as writer:
        for part in group:
            shard = open_reader(part.path)
            for i, key in enumerate(shard.keys):
                if key not in part.dropped:
                    writer.copy(shard, i)
                    count += 1
            shard.close()
    head.close()
    return count
