"""Rows of parts as they are stored, into one new part: what is not in force stays behind.

Nothing is decoded and encoded again: a JPEG, a vector and a text keep their bits. Memory does not
grow with the parts (features, which are mapped, are gathered once).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.receipts import COMPACTED, Receipt
from reelvec.storage.commits.views import PartRef
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames.formats import SUFFIXES, format_of, open_reader, open_writer
from reelvec.storage.frames.sound import SoundShardReader, SoundShardWriter
from reelvec.storage.parquet_writer import open_parquet
from reelvec.storage.records import Outcome
from reelvec.storage.tables import iter_part

__all__ = ["copy_parts", "without"]

_ROWS = 4096

Check = Callable[[pa.Table], None]
"""Looks at rows before they are copied, and raises where they must not be."""


def without(part: PartRef, keys: Collection[str]) -> PartRef:
    """The part as if these keys of it were not in force either."""
    dropped = part.dropped.union(keys)
    return PartRef(part.artifact, dataclasses.replace(part.entry, dropped=dropped))


def copy_parts(
    artifact: Artifact, group: Sequence[PartRef], *, check: Check = lambda _: None
) -> Receipt:
    """Write the rows in force of these parts, of one table, as one part; publishes nothing.

    Raises:
        IntegrityError: a part is damaged.
        StoreError: no room, or parts of a kind that cannot be copied.
    """
    first = group[0]
    suffix = Path(first.part).suffix
    outcomes: list[Outcome] = [row for part in group for row in part.outcomes()]
    with artifact.new_part(table=first.entry.table, shard=first.entry.shard, suffix=suffix) as new:
        if suffix == ".parquet":
            rows = _copy_rows(group, new.path, check=check)
        elif artifact.kind == "features":
            rows = _copy_features(group, new.path)
        elif artifact.kind == "audio":
            rows = _copy_sound(group, new.path)
        elif suffix in SUFFIXES.values():
            rows = _copy_clips(group, new.path)
        else:
            raise StoreError(f"parts of type {suffix} cannot be copied ({first.part})")
        return new.commit(
            rows=rows,
            schema=first.receipt.schema,
            outcomes=outcomes,
            extra={**first.receipt.extra, COMPACTED: len(group)},
        )


def _copy_rows(group: Sequence[PartRef], path: Path, *, check: Check) -> int:
    schema = pq.read_schema(group[0].path)
    count = 0
    with open_parquet(path, schema) as writer:
        for part in group:
            for rows in iter_part(part, batch_rows=_ROWS):
                check(rows)
                writer.write_table(rows.cast(schema), row_group_size=_ROWS)
                count += rows.num_rows
    return count


def _copy_features(group: Sequence[PartRef], path: Path) -> int:
    """One batch, as who reads features expects it."""
    pieces = [_features(part) for part in group]
    whole = pa.concat_tables(pieces).combine_chunks()
    with path.open("wb") as file, pa.ipc.new_file(file, pieces[0].schema) as writer:
        writer.write_table(whole)
    return int(whole.num_rows)


def _features(part: PartRef) -> pa.Table:
    try:
        rows = pa.ipc.open_file(pa.memory_map(str(part.path), "r")).read_all()
    except pa.ArrowInvalid as error:
        words = f"{part!r} is no shard of features ({error}); it is damaged or not ours"
        raise IntegrityError(words, path=part.part) from error
    gone = pa.array(sorted(part.dropped), rows.schema.field(0).type)
    return rows.filter(pc.invert(pc.is_in(rows.column(0), value_set=gone)))


def _copy_sound(group: Sequence[PartRef], path: Path) -> int:
    count = 0
    with SoundShardWriter(path, rate=SoundShardReader(group[0].path).rate) as writer:
        for part in group:
            shard = SoundShardReader(part.path)
            for i, key in enumerate(shard.keys):
                if key not in part.dropped:
                    writer.add(shard.sound(i))
                    count += 1
    return count


def _copy_clips(group: Sequence[PartRef], path: Path) -> int:
    head = open_reader(group[0].path)
    count = 0
    with open_writer(
        path,
        format=format_of(path),
        payload=head.payload,
        size=head.size,
        native=head.native,
    ) as writer:
        for part in group:
            shard = open_reader(part.path)
            for i, key in enumerate(shard.keys):
                if key not in part.dropped:
                    writer.copy(shard, i)
                    count += 1
            shard.close()
    head.close()
    return count
