"""The run itself: what each stage cost, which videos are covered, and which failed and why."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence

from reelvec.tasks.reports.rendering.contents import Failure, StageCost
from reelvec.tasks.reports.rendering.markup import Child, Markup, tag
from reelvec.tasks.reports.rendering.tables import Column, Row, table
from reelvec.tasks.scoring.rows import CoverageRow

__all__ = ["coverage_table", "duration", "failures_by_reason", "failures_table", "stage_table"]

MOST_FAILURES = 200
_ENOUGH = 10
_WORDS = Column("In its words", "words")


def duration(seconds: float) -> str:
    """Seconds in words, such as 3 min 20 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def stage_table(stages: Sequence[StageCost]) -> Markup:
    """Seconds, share, what was done and how fast."""
    total = sum(stage.seconds for stage in stages)
    body = []
    for stage in stages:
        share = 100 * stage.seconds / total if total else 0.0
        bar = tag("div", tag("span", class_="a", style=f"width:{share:.1f}%"), class_="bar")
        cells: list[Child] = [
            stage.name,
            duration(stage.seconds),
            f"{share:.0f} %",
            bar,
            _done(stage.counts),
            _rate(stage) or None,
        ]
        body.append(Row(cells))
    body.append(Row(["all", duration(total), None, None, None, None], css="total"))
    return table(
        [
            Column("Stage"), Column("Time", "n"), Column("Share", "n"), Column(""), Column("Did"),
            Column("Rate", "n"),
        ],
        body,
    )  # fmt: skip


def _done(counts: Mapping[str, object]) -> str:
    """Counts in words; a stage that did nothing says so."""
    said = [
        f"{value:,} {_noun(name, value)}" if isinstance(value, int) else f"{name}: {value}"
        for name, value in counts.items()
        if value not in (0, "", None)
    ]
    return " · ".join(said) if said else "nothing to do"


def _noun(name: str, count: int) -> str:
    words = name.replace("_", " ")
    return words.removesuffix("s") if count == 1 else words


def _rate(stage: StageCost) -> str:
    """The first count over the time, where there are enough for one."""
    numbers = [value for value in stage.counts.values() if isinstance(value, int) and value > 0]
    if not numbers or numbers[0] < _ENOUGH or stage.seconds <= 0:
        return ""
    return f"{numbers[0] / stage.seconds:,.1f} /s"


def coverage_table(coverage: Sequence[CoverageRow]) -> Markup:
    """Planned = ok + salvaged + quarantined, split by split; the scored split stands out."""
    body = []
    for row in coverage:
        parts = (("ok", row.ok), ("salvaged", row.salvaged), ("quarantined", row.quarantined))
        bar = [
            tag("span", class_=css, style=f"width:{100 * count / max(row.planned, 1):.2f}%",
                title=f"{count} {css}")
            for css, count in parts if count
        ]  # fmt: skip
        numbers = [row.planned, row.ok, row.salvaged, row.quarantined, row.with_captions]
        cells: list[Child] = [
            [row.split or "(every split)", " (scored)" if row.scored else None],
            *(f"{number:,}" for number in numbers),
            f"{row.captions_scored:,} of {row.captions:,}",
            tag("div", bar, class_="bar"),
        ]
        body.append(Row(cells, css="scored" if row.scored else ""))
    numbered = [
        "Videos", "ok", "salvaged", "quarantined", "usable, captioned", "captions usable",
    ]  # fmt: skip
    columns = [Column("Split"), *(Column(name, "n") for name in numbered), Column("")]
    return table(columns, body)


def failures_by_reason(failures: Sequence[Failure]) -> Markup:
    """How many videos failed for each reason, with the decoder's most frequent message."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.status, failure.reason, failure.stage), []).append(failure)
    body = []
    for (status, reason, stage), alike in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])):
        words, times = Counter(failure.message for failure in alike).most_common(1)[0]
        often = f" ({times} of {len(alike)})" if times < len(alike) else ""
        cells: list[Child] = [
            tag("span", reason or "?", class_=f"pill {status}"),
            status,
            f"{len(alike):,}",
            stage,
            [tag("code", words), tag("span", often, class_="faint")],
        ]
        body.append(Row(cells))
    columns = [Column("Reason"), Column("Outcome"), Column("Videos", "n"), Column("Stage"), _WORDS]
    return table(columns, body)


def failures_table(failures: Sequence[Failure]) -> list[Markup]:
    """Each video; above a limit the rest is said to be left out, and where to find it."""
    body = []
    for failure in failures[:MOST_FAILURES]:
        cells: list[Child] = [
            [_picture(failure), tag("b", failure.video_id)],
            failure.split or None,
            tag("span", failure.reason or "?", class_=f"pill {failure.status}"),
            [tag("code", failure.message), _detail(failure),
             tag("div", tag("code", failure.path), class_="faint")],
        ]  # fmt: skip
        body.append(Row(cells))
    columns = [Column("Video", "id"), Column("Split"), Column("Reason"), _WORDS]
    rest = len(failures) - MOST_FAILURES
    more = tag("p", f"and {rest:,} more: ", tag("code", "reelvec failures"), class_="soft")
    return [table(columns, body), *([more] if rest > 0 else [])]


def _picture(failure: Failure) -> Markup | None:
    if not failure.jpeg:
        return None
    data = base64.b64encode(failure.jpeg).decode("ascii")
    words = f"A frame of {failure.video_id}"
    return tag("img", src=f"data:image/jpeg;base64,{data}", alt=words, class_="seen")


def _detail(failure: Failure) -> Markup | None:
    return tag("div", tag("code", failure.detail), class_="faint") if failure.detail else None
