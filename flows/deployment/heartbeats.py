"""How soon a dead run is noticed: its process says every half minute that it lives.

Nothing else tells the server that a process was killed: the run stays `Running` and holds its slot.
Prefect's own beat is three minutes, of which three may be missed; runs of our deployments are given
a shorter one by their job's variables, whatever the worker's environment, and a tag that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from reelvec.flows.summary import DEGRADED

__all__ = ["BEATING", "with_beats", "zombie_automations"]

BEATING = "beats-30s"
"""Tag of the runs that beat often."""

_BEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
_SECONDS = 30  # Prefect takes nothing shorter
_SILENCE = timedelta(seconds=6 * _SECONDS)
_DEFAULT_SILENCE = timedelta(seconds=3 * 180)
_LAST_STATES = ("Completed", DEGRADED, "Failed", "TimedOut", "Cancelled", "Crashed")


def with_beats(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Job variables of a deployment with the shorter beat; whatever else they say stays."""
    env = variables.get("env")
    given = env if isinstance(env, Mapping) else {}
    return {**variables, "env": {**given, _BEAT: str(_SECONDS)}}


def zombie_automations() -> list[AutomationCore]:
    """A run whose heartbeat stops (a killed worker) is marked crashed and frees its slot."""
    name = "reelvec: crashed runs are marked"
    of_all = _zombies(name, "Any run", silence=_DEFAULT_SILENCE, related={})
    tagged: dict[str, str | list[str]] = {"prefect.resource.id": f"prefect.tag.{BEATING}"}
    words = f"A run of a deployment with the tag {BEATING}"
    # one that beats for certain owes its first beat too: it may be killed before it
    begun = {"prefect.flow-run.Running"}
    soon = _zombies(f"{name} soon", words, silence=_SILENCE, related=tagged, begun=begun)
    return [of_all, soon]


def _zombies(
    name: str,
    which: str,
    *,
    silence: timedelta,
    related: dict[str, str | list[str]],
    begun: Set[str] = frozenset(),
) -> AutomationCore:
    """The automation.

    Args:
        name: of it.
        which: runs, in words.
        silence: without a heartbeat.
        related: labels of what is related to such runs; {}: to any.
        begun: events from which on they are known to beat, beside a beat itself.
    """
    beat = "prefect.flow-run.heartbeat"
    minutes = f"{silence.total_seconds() / 60:.0f} minutes"
    return AutomationCore(
        name=name,
        description=f"{which} whose process says nothing for {minutes} is over.",
        trigger=EventTrigger(
            after={beat, *begun},
            expect={beat, *(f"prefect.flow-run.{state}" for state in _LAST_STATES)},
            match_related=ResourceSpecification(related),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name=None,
                message=f"No heartbeat for {minutes}.",
                force=False,
            )
        ],
    )
