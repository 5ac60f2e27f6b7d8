"""The page docs/frame-truth.md: what was found, in tables."""

import importlib.metadata
import statistics
from dataclasses import dataclass, field

HEAD = """\
# Frame truth

Which decoder shows which frames, on {kinds} kinds of file. `python -m tests.benchmarks.decode
--write` made this page; `tests/frame_truth` makes the files. Each frame carries its number in
blocks that survive lossy coding and read back turned or mirrored. The reference is ffmpeg's command
line: everything decoded, turned upright, times passed through; nothing of Reelvec takes part in it.

Each file was asked twice: the frames on screen at 0 s, 1 s, 2 s, … (the default sampling), and
twelve from the first to the last. **right**: all frames of both are the reference's, in its order
and orientation. **wrong**: others came, without a word. **fails**: a good file gave an error.
**refused**: a damaged file, or one that is no video, gave an error, which is right there;
**silent**: it gave frames without a word.

`auto` is all of the stage `extract`, in its sandbox; the times it stores (to 1.5 ms) and its
pictures are compared too. The others are called as their users do: torchcodec {torchcodec} by
`get_frames_played_at` and `get_frames_at` in both seek modes; decord by its frames' timestamps;
OpenCV by number over rate, with a seek a frame (CLIP4Clip's way) or in order; PyAV decoding all, by
each frame's time, with nothing turned or checked.

Where streams are several, right is the one the file marks as default, else the first; where AVI
holds B-frames without times, frames are timed by counting them. A cut that falls between two frames
of a container that says no length (MPEG, MPEG-TS) cannot be told from a shorter file, and is none
of these kinds.
"""

STORED = "## What `reelvec embed` makes of it\n"
"""Head of the part that tests.frame_truth.stored writes."""

GOOD = ("right", "refused")


@dataclass(frozen=True)
class Row:
    """One kind of file."""

    name: str
    cells: dict
    """way -> "right", "refused", "wrong", "silent" or "fails"."""
    frames: int
    """At one a second; 0: to be refused."""
    levels: int
    """Largest difference of auto's stored pictures to the reference's, of 255."""
    reason: str
    """Why auto refused it."""
    faults: list = field(default_factory=list)


def show(name, cells):
    """One line of a table on the terminal."""
    texts = [c if isinstance(c, str) else "-" if c is None else f"{c:.2f}" for c in cells.values()]
    print(f"{name:48}" + "".join(f"{text:>9}" for text in texts), flush=True)


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def ways_of(rows):
    return list(rows[0].cells)


def counts(rows, groups):
    """Kinds right, by group and way."""
    ways = ways_of(rows)
    lines = []
    for group, kinds in {**groups, "all": {row.name for row in rows}}.items():
        mine = [row for row in rows if row.name in kinds]
        right = [sum(row.cells[way] in GOOD for row in mine) for way in ways]
        lines.append([group, len(mine), *right])
    unsaid = [sum(row.cells[way] in ("wrong", "silent") for row in rows) for way in ways]
    lines.append(["wrong or silent", len(rows), *unsaid])
    return table(["kinds right", "of", *ways], lines)


def price_table(costs):
    if not costs:
        return ""
    ways = list(next(iter(costs.values())))
    lines = [
        [name, *("wrong" if v is None else f"{v:.2f}" for v in row.values())]
        for name, row in costs.items()
    ]
    for words, ending in (
        ("one a second of 10 s", " 250 frames"),
        ("twelve of 60 s", "1500 frames"),
    ):
        means = []
        for way in ways:
            values = [r[way] for n, r in costs.items() if n.endswith(ending) and r[way]]
            means.append(f"**{statistics.geometric_mean(values):.2f}**" if values else "")
        lines.append([f"geometric mean, {words}", *means])
    return table(["CPU seconds over auto's", *ways], lines)


def summary(rows, costs):
    bad = [row.name for row in rows if row.cells["auto"] not in GOOD]
    words = f"auto is not right on {len(bad)} of {len(rows)} kinds: {', '.join(bad)}"
    return words if bad else f"auto is right on all {len(rows)} kinds"


def written(rows, costs, groups):
    """The whole page."""
    ways = ways_of(rows)
    parts = [
        HEAD.format(kinds=len(rows), torchcodec=version_of("torchcodec")),
        "## How many\n",
        counts(rows, groups),
    ]
    parts += ["## What it costs\n", COSTS, price_table(costs)]
    for group, kinds in groups.items():
        mine = [row for row in rows if row.name in kinds]
        parts.append(f"## {group[0].upper()}{group[1:]}\n")
        if all(row.frames == 0 for row in mine):
            lines = [[r.name, r.reason, *(r.cells[way] for way in ways)] for r in mine]
            parts.append(table(["kind", "reason", *ways], lines))
        else:
            lines = [[r.name, r.frames, r.levels, *(r.cells[way] for way in ways)] for r in mine]
            parts.append(table(["kind", "frames", "levels off", *ways], lines))
    return "\n".join(parts)


COSTS = """\
CPU seconds (user and system) as multiples of `auto`'s, 640 x 360, opening and resizing to 224
included, one thread, a process for each decoder, medians of its rounds (the first call warms up). A
decoder that is not right has no price.
"""
