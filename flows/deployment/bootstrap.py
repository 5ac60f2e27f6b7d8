"""What a Prefect server needs before the deployments run: pool, limits, automations."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from reelvec.flows.deployment.automations import keep_automation
from reelvec.flows.deployment.heartbeats import zombie_automations
from reelvec.flows.deployment.notices import notification_block, tell_of_trouble

__all__ = ["bootstrap_server"]


def bootstrap_server(*, pool: str, notify: str = "") -> Iterator[str]:
    """Create what is missing on the server there is; yields one line a thing. Safe to repeat.

    Args:
        pool: work pool of the deployments.
        notify: who is told of trouble, as `notification_block` takes it; "": nothing is changed.

    Raises:
        ReelvecError: there is no such block.
    """
    with get_client(sync_client=True) as client:
        yield _work_pool(client, pool)
        yield _gpu_limit(client)
        for automation in zombie_automations():
            yield keep_automation(client, automation)
        if notify:
            block = notification_block(client, notify)
            yield from tell_of_trouble(client, pool=pool, block=block)


def _work_pool(client: SyncPrefectClient, pool: str) -> str:
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        return f"created process work pool {pool}"
    return f"work pool {pool} is there"


def _gpu_limit(client: SyncPrefectClient) -> str:
    """One stage on the GPUs of a host at a time; raise it with `prefect gcl update gpu`."""
    try:
        client.read_global_concurrency_limit_by_name("gpu")
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="gpu", limit=1))
        return "created concurrency limit gpu (1)"
    return "concurrency limit gpu is there"
