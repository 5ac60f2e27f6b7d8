"""A command that a launcher started on several nodes: the first runs, the others only train."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.storage.at_work import runs_at_work
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.finding import find_trained
from reelvec.tasks.training.place import Place, is_launched, place_of
from reelvec.tasks.training.running import Given, take_part

__all__ = ["check_place", "join", "other_place"]

_SECONDS_BETWEEN_LOOKS = 5.0


def other_place(config: PipelineConfig, *, stages: Sequence[str] | None) -> Place | None:
    """The place of this command where it is not the first of several that train together.

    Raises:
        ConfigError: the launcher started another number of commands, or no address is named.
    """
    if not _trains_together(config, stages) or not is_launched(os.environ):
        return None
    place = _place(config)
    return None if place.is_first else place


def check_place(session: Session, *, stages: Sequence[str]) -> None:
    """See, before the work, that a training over several nodes is begun by the first of them.

    Raises:
        ConfigError: nothing says which of the nodes this is, or where they meet.
    """
    if not _trains_together(session.config, stages) or find_trained(session) is not None:
        return
    place = _place(session.config)
    if not place.is_first:
        raise ConfigError(
            f"this is node {place.index} of {place.count}; a run is for the first of them, the"
            " others take part by `reelvec run`",
            key="train.nodes",
        )


def join(config: PipelineConfig, place: Place) -> None:
    """Take part in the training of a run until it is over, or finished already.

    Raises:
        TrainingError: the first node does not come, was given something else, or failed.
        ConfigError: what cannot be trained here.
    """
    config = checked_config(config)
    given = Given(store=Session(config).root.uri, model=config.model, train=config.train)
    take_part(place, given=given, is_over=_Waiting(config, place).is_over)


def _place(config: PipelineConfig) -> Place:
    try:
        return place_of(config.train, os.environ)
    except TrainingError as error:
        raise ConfigError(str(error), key="train.nodes") from None


def _trains_together(config: PipelineConfig, stages: Sequence[str] | None) -> bool:
    trains = config.train.epochs > 0 and (stages is None or "train" in stages)
    return trains and config.train.nodes > 1 and config.runner != "dask"


class _Waiting:
    """For the first node, which may have to decode before it trains."""

    def __init__(self, config: PipelineConfig, place: Place) -> None:
        self._config, self._place = config, place
        self._limit = config.train.hang_minutes * 60
        self._since = time.monotonic()
        self._looked = 0.0

    def is_over(self, met: bool) -> bool:
        """Whether the model is trained.

        Args:
            met: whether the first was there before; it is then gone, and must come back in time.

        Raises:
            TrainingError: no run of this name is at work, for as long as a process may hang.
        """
        now = time.monotonic()
        if now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return False
        self._looked = now
        session = Session(self._config)
        with suppress(MissingArtifactError):
            if find_trained(session) is not None:
                return True
        runs = runs_at_work(session.root)
        if not met and any(run.name == self._config.name and not run.stopped for run in runs):
            self._since = now
        if self._limit and now - self._since > self._limit:
            raise TrainingError(
                f"the first node {'did not come back' if met else 'was not there'} at"
                f" {self._place.address} for {self._config.train.hang_minutes:g} minutes; start the"
                " same command on all nodes again: training goes on from the last checkpoint"
            )
        return False
