"""From the command line into a flow: say what is to be done, do it, show what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import FolderCorpus
from reelvec.configs.schema import STAGES
from reelvec.flows.clusters import check_loopback
from reelvec.flows.console.logs import keep_logs_brief
from reelvec.flows.console.output import complain, print_table, say
from reelvec.flows.console.scores import show_metrics, show_moments
from reelvec.flows.console.stores import root_at
from reelvec.flows.servers import check_server, ending_with_server, server_url

if TYPE_CHECKING:
    from reelvec.flows.refresh import Reembedded, RefreshOptions, RunStages
    from reelvec.storage.upkeep.repair import Repair
    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.runs.outcome import RunSummary
    from reelvec.tasks.runs.retrying import RetryFilter

__all__ = [
    "RepairSummary",
    "failures_to_retry",
    "launch",
    "refresh_runs",
    "repair_damage",
    "retry_failed",
    "show",
    "stage_runner",
]


def launch(
    config: PipelineConfig,
    *,
    stages: Sequence[str] | None = None,
    accept_losses: bool = False,
    rehash: bool = False,
) -> RunSummary:
    """Run the pipeline, or find in seconds that a finished run has nothing left to do.

    Raises:
        ConfigError: what cannot come to an end, as `check_config` and `rehearse_corpus` find it;
            or no store can be at config.store.
        CorpusError: the corpus' files cannot be read.
        StoreError: it cannot be made there.
        ServerError: PREFECT_API_URL is set, and no server answers there.
    """
    if stages is None or "ingest" in stages:
        _check_videos(config)
    server = _server()
    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.runs.outcome import summary_of
    from reelvec.tasks.runs.plan import plan_pipeline
    from reelvec.tasks.runs.recording import is_last_run
    from reelvec.tasks.runs.settled import choose_stages, settled_config

    config, chosen = settled_config(config), choose_stages(stages, hears=config.hears)
    root = root_at(config.store)
    session = Session(config, root=root, rehash=rehash)
    work = plan_pipeline(session, stages=chosen) if is_last_run(session, stages=chosen) else None
    if work == []:
        return summary_of(session)
    _begin_imports(config, stages=chosen if work is None else [row.stage for row in work])
    from reelvec.flows.nodes import check_place  # only now: these import torch
    from reelvec.tasks.runs.preflight import check_config
    from reelvec.tasks.runs.rehearsal import rehearse_corpus

    check_config(config)
    rehearse_corpus(session, stages=chosen)
    root.new_scratch()  # where no store can be made, that is said before any work
    check_place(session, stages=chosen)
    complain(f"reelvec: {config.name} -> {config.store}")
    return _run(config, server=server, stages=chosen, accept_losses=accept_losses, rehash=rehash)


def _begin_imports(config: PipelineConfig, *, stages: Collection[str]) -> None:
    """Where shards are decoded on this machine, start what they need beside what we need."""
    if config.runner == "threads" and not {"ingest", "extract", "audio"}.isdisjoint(stages):
        from reelvec.tasks.decoding.preloading import begin_imports

        begin_imports()


def _server() -> str | None:
    """The Prefect server that is configured; that it answers is seen before torch is read."""
    url = server_url()
    if url is not None:
        check_server(url)
    return url


def _check_videos(config: PipelineConfig) -> None:
    """A folder without videos is said at once, before torch is read."""
    if isinstance(config.corpus, FolderCorpus) and config.corpus.captions is None:
        from reelvec.storage.corpora.own.folder import check_folder

        check_folder(config.corpus.videos)


def retry_failed(
    store: str,
    *,
    run: str | None = None,
    reasons: Sequence[str],
    videos: Sequence[str],
    accept_losses: bool = False,
    rehash: bool = False,
) -> RunSummary:
    """Try failed videos of a run (None: the last) again, and bring its tables up to date."""
    from reelvec.tasks.runs.preflight import checked_config
    from reelvec.tasks.runs.recording import last_config

    retry = failures_to_retry(store, run=run, reasons=reasons, videos=videos)
    config = last_config(store, run=run)
    server, config = _server(), checked_config(config)
    return _run(config, server=server, retry=retry, accept_losses=accept_losses, rehash=rehash)


def _run(
    config: PipelineConfig,
    *,
    server: str | None,
    stages: Sequence[str] = STAGES,
    retry: RetryFilter | None = None,
    accept_losses: bool,
    rehash: bool,
    refresh: bool = False,
) -> RunSummary:
    """As a Prefect flow where there is a server; else alone."""
    check_loopback(config)
    if server is None:
        from reelvec.flows.alone import run_alone
        from reelvec.tasks.artifacts import Session

        session = Session(config, accepts_losses=accept_losses, rehash=rehash, refreshes=refresh)
        return run_alone(session, only=stages, retry=retry)
    from reelvec.flows.pipeline import pipeline

    keep_logs_brief()
    with ending_with_server(server):
        return pipeline(
            config,
            only=list(stages),
            retry=retry,
            accept_losses=accept_losses,
            rehash=rehash,
            refresh=refresh,
        )


def refresh_runs(store: str, *, names: Sequence[str], options: RefreshOptions) -> Reembedded:
    """Keep the tables of runs true, of all that have tables or of those that are named.

    Raises:
        MissingArtifactError: no run is called so, or none has tables.
    """
    from reelvec.flows.refresh import Reembedded, chosen_runs, refresh

    run, due = stage_runner(), chosen_runs(store, names)
    done = [refresh(one, options=options, run=run, say=complain) for one in due]
    return Reembedded(runs=tuple(done))


def stage_runner() -> RunStages:
    """Runs stages as a flow where a Prefect server is configured; else alone."""
    server = _server()

    def run(session: Session, stages: list[str]) -> RunSummary:
        return _run(
            session.config,
            server=server,
            stages=stages,
            accept_losses=session.accepts_losses,
            rehash=session.rehash,
            refresh=session.refreshes,
        )

    return run


def failures_to_retry(
    store: str, *, run: str | None, reasons: Sequence[str], videos: Sequence[str]
) -> RetryFilter:
    """The failed videos of a run (None: the last) that are named; no names: all of them.

    Raises:
        MissingArtifactError: the store has no run.
        ReelvecError: no failure has such a reason, or no failed video such an id.
    """
    from reelvec.tasks.runs.retrying import RetryFilter

    retry = RetryFilter(reasons=tuple(reasons), videos=tuple(videos)).check()
    if videos:
        opened = reelvec.open(store).run(run)
        failed = [*opened.failures(), *opened.failures(sound=True)]
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
        show_metrics(outcome.metrics)
    if outcome.moments:
        say()
        show_moments(outcome.moments)
    if outcome.report:
        say()
        say(f"Report: {outcome.report}")
