"""Which decoder is right on which kind of file, and at what cost: the table `auto` reads.

The table, decoder_table.json, is made by ``python -m tests.benchmarks.decode --write-table``: every
decoder reads painted barcodes out of every kind of file. tests/storage/video finds
the same again, costs aside. It decides who decodes, never which frames come out: all decoders that
are right on a kind give the same frames, bit for bit, so it is part of no identity.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reelvec.storage.video.clock import is_uneven
from reelvec.storage.video.orientation import UPRIGHT
from reelvec.storage.video.probe import ProbeResult

__all__ = ["TABLE_PATH", "DecoderTable", "FileKind", "Verdict", "kind_of", "shipped_table"]

TABLE_PATH = Path(__file__).with_name("decoder_table.json")


@dataclass(frozen=True, order=True, kw_only=True)
class FileKind:
    """The facts that decide whether a decoder's frames can be trusted, known before decoding."""

    container: str
    codec: str
    by_time: bool
    """Each frame has a presentation time of its own that can be believed."""
    reorders: bool
    """Decode order differs from display order: B-frames."""
    refreshes: bool
    """Keyframes are no clean starts: H.264 intra refresh."""
    open_groups: bool
    """Some picture is shown before the keyframe that precedes it in the file."""
    hidden_packets: bool
    """Not every packet's frame is shown: edit list, or a start without a keyframe."""
    one_group: bool
    """A single keyframe, or none: nowhere to seek to."""
    variable_rate: bool
    rotated: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decoders that are right on one kind of file, and what they cost."""

    right: frozenset[str]
    """Decoders whose every frame was the one asked for, bit for bit that of a full decode."""
    cost: Mapping[str, float]
    """CPU time of a decoder as a multiple of selective's, of those that are right."""


@dataclass(frozen=True, kw_only=True)
class DecoderTable:
    """Verdicts by kind, and the decoders that say so when a file is damaged."""

    notices_damage: frozenset[str]
    verdicts: Mapping[FileKind, Verdict]

    def is_right(self, decoder: str, kind: FileKind) -> bool:
        """Was `decoder` right on every file seen of `kind`; False of a kind never seen."""
        verdict = self.verdicts.get(kind)
        return verdict is not None and decoder in verdict.right

    def order(self, kind: FileKind | None) -> tuple[str, ...]:
        """Decoders to try on a file of `kind` (None: never seen), in this order.

        Those right on it that notice damage (another would turn damage into wrong frames), cheapest
        first. Of a kind never seen: those right on every kind that was, by their cost over all.
        """
        verdict = self.verdicts.get(kind) if kind else None
        verdicts = [verdict] if verdict else list(self.verdicts.values())
        right = frozenset.intersection(self.notices_damage, *(v.right for v in verdicts))
        return tuple(sorted(right, key=lambda name: (sum(v.cost[name] for v in verdicts), name)))

    @classmethod
    def read(cls, path: Path) -> DecoderTable:
        """Read the table from its file.

        Raises:
            ValueError: a kind is there twice, or a kind leaves no decoder to try.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        verdicts: dict[FileKind, Verdict] = {}
        for row in content["kinds"]:
            kind = FileKind(**row["kind"])
            if kind in verdicts:
                raise ValueError(f"{path}: {kind} is there twice; write the table anew")
            cost = {name: float(value) for name, value in row["cost"].items()}
            verdicts[kind] = Verdict(right=frozenset(row["right"]), cost=cost)
        table = cls(notices_damage=frozenset(content["notices_damage"]), verdicts=verdicts)
        for tried in (*verdicts, None):
            if not table.order(tried):
                name = tried or "a kind never seen"
                raise ValueError(f"{path}: no decoder is left for {name}; write the table anew")
        return table

    def write(self, path: Path, *, seen: Mapping[FileKind, list[str]]) -> None:
        """To its file, with the names of the files `seen` of each kind; same table, same bytes."""
        rows = [
            {
                "kind": asdict(kind),
                "seen": sorted(seen[kind]),
                "right": sorted(verdict.right),
                "cost": {name: round(verdict.cost[name], 2) for name in sorted(verdict.right)},
            }
            for kind, verdict in sorted(self.verdicts.items(), key=lambda item: item[0])
        ]
        content = {
            "made_by": "python -m tests.benchmarks.decode --write-table",
            "notices_damage": sorted(self.notices_damage),
            "kinds": rows,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kind_of(probe: ProbeResult) -> FileKind:
    """The kind of the file `probe` describes."""
    table = probe.packets
    keys = table.keyframe
    # a keyframe's own PTS until the next one; before the first, nothing precedes
    last_key = np.maximum.accumulate(np.where(keys, table.ticks, table.ticks.min()))
    by_time = probe.by_time and not probe.in_order
    return FileKind(
        container=probe.container,
        codec=probe.codec,
        by_time=by_time,
        reorders=probe.reorders,
        refreshes=probe.refreshes,
        open_groups=bool(keys.any() and by_time and (table.ticks < last_key).any()),
        hidden_packets=not bool(table.shown.all()),
        one_group=probe.keyframes <= 1,
        variable_rate=is_uneven(probe.pts_seconds),
        rotated=probe.orientation != UPRIGHT,
    )


@functools.cache
def shipped_table() -> DecoderTable:
    """The table this package brings, read once a process.

    Raises:
        ValueError: it is not as written.
    """
    return DecoderTable.read(TABLE_PATH)
