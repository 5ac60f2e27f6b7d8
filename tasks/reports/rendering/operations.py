"""The run itself: what each stage cost, which videos are covered, and which failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from reelvec.tasks.reports.rendering.contents import Failure, StageCost
from reelvec.tasks.reports.rendering.markup import Child, Markup, tag
from reelvec.tasks.scoring.rows import CoverageRow

__all__ = ["coverage_table", "duration", "failures_by_reason", "failures_table", "stage_table"]

MOST_FAILURES = 200
_ENOUGH = 10


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
        cells = [
            tag("td", stage.name),
            tag("td", duration(stage.seconds), class_="n"),
            tag("td", f"{share:.0f} %", class_="n"),
            tag("td", bar),
            tag("td", _done(stage.counts)),
            tag("td", _rate(stage), class_="n"),
        ]
        body.append(tag("tr", cells))
    empty = tag("td", "", colspan=4)
    last = tag(
        "tr", tag("td", "all"), tag("td", duration(total), class_="n"), empty, class_="total"
    )
    body.append(last)
    heads = [("Stage", ""), ("Time", "n"), ("Share", "n"), ("", ""), ("Did", ""), ("Rate", "n")]
    return _table(heads, body)


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
        name = row.split or "(every split)"
        cells = [
            tag("td", name, " (scored)" if row.scored else None),
            [tag("td", f"{number:,}", class_="n") for number in numbers],
            tag("td", f"{row.captions_scored:,} of {row.captions:,}", class_="n"),
            tag("td", tag("div", bar, class_="bar")),
        ]
        body.append(tag("tr", cells, class_="scored" if row.scored else None))
    heads = [
        ("Split", ""), ("Videos", "n"), ("ok", "n"), ("salvaged", "n"), ("quarantined", "n"),
        ("usable, captioned", "n"), ("captions usable", "n"), ("", ""),
    ]  # fmt: skip
    return _table(heads, body)


def failures_by_reason(failures: Sequence[Failure]) -> Markup:
    """How many videos failed for each reason, with the decoder's most frequent message."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.status, failure.reason, failure.stage), []).append(failure)
    body = []
    for (status, reason, stage), alike in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])):
        words, times = Counter(failure.message for failure in alike).most_common(1)[0]
        often = f" ({times} of {len(alike)})" if times < len(alike) else ""
        cells = [
            tag("td", tag("span", reason or "?", class_=f"pill {status}")),
            tag("td", status),
            tag("td", f"{len(alike):,}", class_="n"),
            tag("td", stage),
            tag("td", tag("code", words), tag("span", often, class_="faint"), class_="words"),
        ]
        body.append(tag("tr", cells))
    heads = [("Reason", ""), ("Outcome", ""), ("Videos", "n"), ("Stage", ""), ("In its words", "")]
    return _table(heads, body)


def failures_table(failures: Sequence[Failure]) -> list[Markup]:
    """Each video; above a limit the rest is said to be left out, and where to find it."""
    body = []
    for failure in failures[:MOST_FAILURES]:
        cells = [
            tag("td", tag("b", failure.video_id), class_="id"),
            tag("td", failure.split),
            tag("td", tag("span", failure.reason or "?", class_=f"pill {failure.status}")),
            tag("td", tag("code", failure.message), _detail(failure),
                tag("div", tag("code", failure.path), class_="faint"), class_="words"),
        ]  # fmt: skip
        body.append(tag("tr", cells))
    heads = [("Video", ""), ("Split", ""), ("Reason", ""), ("In its words", "")]
    rest = len(failures) - MOST_FAILURES
    more = tag("p", f"and {rest:,} more: ", tag("code", "reelvec failures"), class_="soft")
    return [_table(heads, body), *([more] if rest > 0 else [])]


def _detail(failure: Failure) -> Markup | None:
    return tag("div", tag("code", failure.detail), class_="faint") if failure.detail else None


def _table(heads: Sequence[tuple[str, str]], body: Sequence[Child]) -> Markup:
    head = tag("tr", [tag("th", name, class_=css or None) for name, css in heads])
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")
