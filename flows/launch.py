"""From the command line into a flow: say what is to be done, do it, show what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.flows.console.logs import keep_logs_brief
from reelvec.flows.console.output import complain, print_table, say
from reelvec.flows.console.stores import root_at

if TYPE_CHECKING:
    from reelvec.storage.upkeep.repair import Repair
    from reelvec.tasks.runs.outcome import RunSummary
    from reelvec.tasks.runs.retrying import RetryFilter
    from reelvec.tasks.scoring.rows import MetricRow

__all__ = [
    "RepairSummary",
    "failures_to_retry",
    "launch",
    "repair_damage",
    "retry_failed",
    "show",
]


def launch(
    config: PipelineConfig,
    *,
    stages: Sequence[str] | None = None,
    accept_losses: bool = False,
    rehash: bool = False,
) -> RunSummary:
    """Run the pipeline, or find in seconds that a finished run has nothing left to do.

    Without PREFECT_API_URL Prefect serves itself for the time of the run.

    Raises:
        ConfigError: no store can be at config.store.
        StoreError: it cannot be made there.
    """
    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.runs.outcome import summary_of
    from reelvec.tasks.runs.plan import plan_pipeline
    from reelvec.tasks.runs.preflight import checked_config, choose_stages
    from reelvec.tasks.runs.recording import is_last_run

    config = checked_config(config)
    chosen = choose_stages(stages)
    root = root_at(config.store)
    session = Session(config, root=root, rehash=rehash)
    if is_last_run(session, stages=chosen) and not plan_pipeline(session, stages=chosen):
        return summary_of(session)
    root.new_scratch()  # where no store can be made, that is said before any work
    complain(f"reelvec: {config.name} -> {config.store}")
    from reelvec.flows.pipeline import pipeline

    keep_logs_brief()
    return pipeline(config, only=chosen, accept_losses=accept_losses, rehash=rehash)


def retry_failed(
    store: str,
    *,
    reasons: Sequence[str],
    videos: Sequence[str],
    accept_losses: bool = False,
    rehash: bool = False,
) -> RunSummary:
    """Try failed videos of the last run again, and bring its tables up to date."""
    from reelvec.tasks.runs.recording import last_config

    retry = failures_to_retry(store, reasons=reasons, videos=videos)
    config = last_config(store)
    from reelvec.flows.pipeline import pipeline

    keep_logs_brief()
    return pipeline(config, retry=retry, accept_losses=accept_losses, rehash=rehash)


def failures_to_retry(store: str, *, reasons: Sequence[str], videos: Sequence[str]) -> RetryFilter:
    """The failed videos of the last run that are named; no names: all of them.

    Raises:
        MissingArtifactError: the store has no run.
        ReelvecError: no failure has such a reason, or no failed video such an id.
    """
    from reelvec.tasks.runs.retrying import RetryFilter

    retry = RetryFilter(reasons=tuple(reasons), videos=tuple(videos)).check()
    if videos:
        failed = reelvec.open(store).run().failures()
        retry.check_videos({row.video_id for row in failed})
    return retry


@dataclass(frozen=True, kw_only=True)
class RepairSummary:
    """What a repair came to."""

    store: str
    repairs: tuple[Repair, ...]
    videos: tuple[str, ...] = ()
    """Ids of the videos that were redone."""
    left: tuple[str, ...] = ()
    """Files that are still damaged or gone."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `reelvec repair --json` prints it."""
        return {
            "store": self.store,
            "repaired": [
                {
                    "kind": repair.damage.kind,
                    "identity": repair.damage.fingerprint,
                    "path": repair.damage.path,
                    "what": repair.damage.what,
                    "keys": list(repair.damage.keys),
                    "done": repair.done,
                }
                for repair in self.repairs
            ],
            "videos": list(self.videos),
            "left": list(self.left),
            "notes": list(self.notes),
        }


def repair_damage(store: str) -> RepairSummary:
    """Repair the store, run the stages of its last run, and say what was damaged and redone.

    Where all of an artifact is gone there is nothing to repair, and a run of it may take days: then
    it is said that the run must be given again.
    """
    from reelvec.storage.roots import open_root
    from reelvec.storage.upkeep.verify import lost_of_last_run, verify_store
    from reelvec.tasks.runs.recording import last_config
    from reelvec.tasks.upkeep.repair import repair, stages_to_run, videos_of

    done = repair(store)
    videos: list[str] = []
    notes: list[str] = []
    if done.repairs and done.has_run:
        config = last_config(store)
        launch(config, stages=stages_to_run(store))
        videos = videos_of(config, [repair.damage for repair in done.repairs])
    elif done.repairs:
        notes.append("no run is known any more: give the command of the last one again")
    root = open_root(store)
    left = verify_store(root) if done.repairs else lost_of_last_run(root)
    notes += [f"{damage.path}: {damage.what}" for damage in left]
    if lost_of_last_run(root):
        notes.append("what is gone whole the same run makes again: give its command once more")
    return RepairSummary(
        store=store,
        repairs=tuple(done.repairs),
        videos=tuple(videos),
        left=tuple(damage.path for damage in left),
        notes=tuple(notes),
    )


def show(summary: RunSummary) -> None:
    """The summary on stdout, for a person."""
    outcome = summary.outcome
    if not summary.changed:
        pending = outcome.coverage.pending
        words = f"{pending} videos are pending" if pending else "Everything is up to date"
        say(f"{words}: nothing was done.")
    else:
        rows = [
            {"stage": stage.stage, "done": stage.words, "seconds": stage.seconds}
            for stage in summary.stages
        ]
        print_table(outcome.name, rows, ["stage", "done", "seconds"])
    more = "; see `reelvec failures`" if outcome.failures else ""
    say()
    say(f"Videos: {outcome.coverage.words}{more}")
    for note in summary.notes:
        say(f"Note: {note}")
    if outcome.metrics:
        say()
        _show_metrics(outcome.metrics)
    if outcome.report:
        say()
        say(f"Report: {outcome.report}")


def _show_metrics(metrics: Sequence[MetricRow]) -> None:
    """One line a direction, protocol and subset: R@k and medians beside each other."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in metrics:
        key = (row.direction, row.protocol, row.subset)
        line = lines.setdefault(
            key, {"direction": key[0], "protocol": key[1], "subset": key[2] or "all", "n": row.n}
        )
        line[row.metric] = f"{row.value:.1f}"
        if row.metric == "R@1" and row.low is not None:
            line["R@1 95 %"] = f"{row.low:.1f} – {row.high:.1f}"
        if row.published is not None:
            line[f"{row.metric} expected"] = f"{row.published:.1f}"
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    print_table("Metrics", list(lines.values()), columns)
