"""A run planned and not done: what it would touch and what that would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reelvec.configs import PipelineConfig
from reelvec.flows.console.output import print_table, say
from reelvec.flows.console.stores import root_at

if TYPE_CHECKING:
    from reelvec.tasks.runs.price import PricedPlan

__all__ = ["plan_run", "show_plan"]


def plan_run(
    config: PipelineConfig, *, stages: Sequence[str] | None = None, rehash: bool = False
) -> PricedPlan:
    """The plan of a run with its price; nothing is written, and no server is asked.

    Raises:
        ConfigError: what cannot come to an end, as `launch` finds it.
        CorpusError: the corpus' files cannot be read.
    """
    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.runs.preflight import checked_config
    from reelvec.tasks.runs.price import price_run
    from reelvec.tasks.runs.rehearsal import rehearse_corpus
    from reelvec.tasks.runs.settled import choose_stages

    config, chosen = checked_config(config), choose_stages(stages, hears=config.hears)
    session = Session(config, root=root_at(config.store), rehash=rehash, plans=True)
    rehearse_corpus(session, stages=chosen)
    return price_run(session, stages=chosen)


def show_plan(plan: PricedPlan) -> None:
    """The plan on stdout, for a person."""
    say(f"{plan.name}: {plan.words}")
    if not plan.work:
        return
    say()
    work = [{"stage": row.stage, "what": row.why, "count": row.count} for row in plan.work]
    print_table("To do", work, ["stage", "what", "count"])
    if plan.videos:
        more = sum(plan.counts.values()) - len(plan.videos)
        say()
        rows = [{"video_id": video.video_id, "why": video.why} for video in plan.videos]
        print_table("Videos", rows, ["video_id", "why"], whole=["why"])
        if more > 0:
            say(f"… and {more} more")
    say()
    prices = [
        {
            "stage": price.stage,
            "work": f"{price.units} {price.unit}",
            "minutes": "?" if price.seconds is None else f"{price.seconds / 60:,.2f}",
            "MiB": "" if price.bytes is None else f"{price.bytes / 2**20:,.1f}",
            "by": price.basis,
        }
        for price in plan.prices
    ]
    print_table("Price", prices, ["stage", "work", "minutes", "MiB", "by"])
