"""Deployments written on a Prefect server: what is missing is made, what differs is changed.

The code owns what a deployment runs and how: entrypoint, form, parameters, pool, queue, limit. A
schedule is the operator's once it is there: its time and whether it is paused stay, unless a time
is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from reelvec.configs import ConfigError
from reelvec.flows.deployment.heartbeats import BEATING, with_beats
from reelvec.flows.deployment.table import NIGHTLY, Deployment
from reelvec.flows.deployment.workplace import enter_worker_folder
from reelvec.storage.errors import ReelvecError

__all__ = ["PULL_STEPS", "Place", "Written", "deploy"]

PULL_STEPS: list[dict[str, Any]] = [
    {f"{enter_worker_folder.__module__}.{enter_worker_folder.__name__}": {}}
]
"""What a worker does before a run; no path of the machine that deploys is in it."""

_ONE_AT_A_TIME = ConcurrencyOptions(
    collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW,  # runs that come due do not pile up
    grace_period_seconds=600,  # a run may take so long to start before its slot is taken back
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where deployments run, and when those with a schedule do."""

    pool: str
    cron: str = ""
    """Five fields, for the nightlies; "": new ones as their row says, the others as they are."""
    timezone: str = ""
    """Of the nightlies' times; "": UTC for new ones."""

    def moves(self, row: Deployment) -> bool:
        """Whether a time was given for the schedule of this deployment."""
        return row.slug == NIGHTLY and bool(self.cron or self.timezone)

    def schedule(self, row: Deployment) -> CronSchedule:
        """When the deployment runs, where its schedule is new or its time is given.

        Raises:
            ConfigError: no such time or time zone.
        """
        given = self.moves(row)
        cron = (given and self.cron) or row.cron
        timezone = (given and self.timezone) or "UTC"
        try:
            return CronSchedule(cron=cron, timezone=timezone)
        except ValidationError as error:
            words = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"a schedule at ({cron}) in ({timezone}) cannot be: {words}; --cron takes five"
                ' fields, e.g. "30 1 * * 1-5", and --timezone a name, e.g. Europe/Paris',
                key="cron",
            ) from None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was done about a deployment."""

    name: str
    made: bool = False
    changed: tuple[str, ...] = ()
    """What differed on the server; empty and not made: nothing did."""

    @property
    def words(self) -> str:
        """On one line."""
        if self.made:
            return f"made {self.name}"
        if self.changed:
            return f"changed {self.name}: {', '.join(self.changed)}"
        return f"{self.name} is as it should be"


def deploy(rows: Sequence[Deployment], *, place: Place) -> Iterator[Written]:
    """Write the deployments on the server there is; yields what was done about each.

    Raises:
        ReelvecError: the server has no such pool.
        ConfigError: a schedule that cannot be; nothing is written then.
    """
    for row in rows:
        if row.cron:
            place.schedule(row)
    with get_client(sync_client=True) as client:
        _check_pool(client, place.pool)
        for row in rows:
            yield _write(client, row, place=place)


def _check_pool(client: SyncPrefectClient, pool: str) -> None:
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        raise ReelvecError(
            f"the server has no work pool ({pool}); `reelvec bootstrap --pool {pool}` makes it"
        ) from None


def _write(client: SyncPrefectClient, row: Deployment, *, place: Place) -> Written:
    wanted = _wanted(row, pool=place.pool)
    try:
        there = client.read_deployment_by_name(row.full_name)
    except ObjectNotFound:
        schedules = [_new_schedule(row, place=place)] if row.cron else []
        client.create_deployment(
            flow_id=client.create_flow_from_name(row.flow.name),
            name=row.name,
            schedules=schedules,
            job_variables=with_beats({}),
            **wanted,
        )
        return Written(name=row.full_name, made=True)
    wanted["job_variables"] = with_beats(there.job_variables)  # others in them are the operator's
    changes = {key: value for key, value in wanted.items() if _found(there, key) != value}
    if changes:
        client.update_deployment(there.id, DeploymentUpdate(**changes))
    scheduled = _keep_schedule(client, row, there=there, place=place) if row.cron else ()
    return Written(name=row.full_name, changed=(*map(_PLAIN.__getitem__, changes), *scheduled))


_PLAIN = {
    "entrypoint": "entrypoint",
    "description": "description",
    "parameters": "parameters",
    "tags": "tags",
    "job_variables": "job variables",
    "work_pool_name": "pool",
    "work_queue_name": "queue",
    "concurrency_limit": "limit",
    "concurrency_options": "limit",
    "parameter_openapi_schema": "form",
    "enforce_parameter_schema": "form",
    "pull_steps": "pull steps",
}
"""A person's words for what a deployment has."""


def _wanted(row: Deployment, *, pool: str) -> dict[str, Any]:
    """All that the code says of a deployment, but its schedule."""
    return {
        "entrypoint": row.entrypoint,
        "description": row.words,
        "parameters": dict(row.parameters),
        "tags": [*row.tags, BEATING],
        "work_pool_name": pool,
        "work_queue_name": row.queue,
        "concurrency_limit": 1,
        "concurrency_options": _ONE_AT_A_TIME,
        "parameter_openapi_schema": parameter_schema(row.flow).model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "pull_steps": PULL_STEPS,
    }


def _found(there: DeploymentResponse, key: str) -> Any:
    if key == "concurrency_limit":
        limit = there.global_concurrency_limit
        return None if limit is None else limit.limit
    if key == "parameters":
        return dict(there.parameters or {})
    return getattr(there, key)


def _new_schedule(row: Deployment, *, place: Place) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=place.schedule(row), active=True, slug=row.slug)


def _keep_schedule(
    client: SyncPrefectClient, row: Deployment, *, there: DeploymentResponse, place: Place
) -> tuple[str, ...]:
    """Make the schedule where it is missing; move it where a time was given."""
    known = next((one for one in there.schedules if one.slug == row.slug), None)
    if known is None:
        client.create_deployment_schedules(there.id, [_new_schedule(row, place=place)])
        return ("schedule",)
    now, given = known.schedule, place.schedule(row)
    if not place.cron and isinstance(now, CronSchedule):
        given = CronSchedule(cron=now.cron, timezone=given.timezone)
    same = isinstance(now, CronSchedule) and (now.cron, now.timezone) == (
        given.cron,
        given.timezone,
    )
    if same or not place.moves(row):
        return ()
    client.update_deployment_schedule(there.id, known.id, schedule=given)
    return ("schedule",)
