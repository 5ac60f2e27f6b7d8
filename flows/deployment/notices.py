"""Who is told when a night goes wrong: one automation a kind of trouble, by a block of Prefect's.

The server sends what it has to say, so it has to reach the address, and not the worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict

from reelvec.flows.deployment.automations import keep_automation
from reelvec.flows.events import Event
from reelvec.storage.errors import ReelvecError

__all__ = ["notification_block", "tell_of_trouble"]

_OWN_BLOCK = "reelvec"
_EVERY_VALUE = "{% for name, value in event.payload.items() %}{{ name }}: {{ value }}\n{% endfor %}"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A kind of trouble, and the words for it; `words` are Prefect's templates."""

    name: str
    events: frozenset[str]
    subject: str
    body: str
    of_runs: bool = False
    """Only of runs of the work pool: not of the stages in them, nor of command lines."""


_RUN = """{{ deployment.name }}
{{ flow_run.state.message or "" }}
{{ flow_run|ui_url or "" }}"""
NOTICES = (
    *(
        Notice(
            name=f"reelvec: tell of {state.lower()} runs",
            events=frozenset({f"prefect.flow-run.{state}"}),
            subject=f"Reelvec: {{{{ flow_run.name }}}} {words}",
            body=_RUN,
            of_runs=True,
        )
        for state, words in (
            ("Failed", "failed"),
            ("Crashed", "crashed"),
            ("Late", "is late: no worker has taken it"),
        )
    ),
    Notice(
        name="reelvec: tell of a refused gate",
        events=frozenset({str(Event.REFUSED)}),
        subject="Reelvec: new tables of {{ event.payload.run }} were refused",
        body=_EVERY_VALUE,
    ),
    Notice(
        name="reelvec: tell of many failed videos",
        events=frozenset({str(Event.QUARANTINED)}),
        subject="Reelvec: {{ event.payload.quarantined }} of {{ event.payload.videos }} videos"
        " of {{ event.payload.run }} failed",
        body=_EVERY_VALUE,
    ),
)


def tell_of_trouble(client: SyncPrefectClient, *, pool: str, block: UUID) -> Iterator[str]:
    """Make or change the automations; yields one line each.

    Args:
        client: of the server.
        pool: work pool whose runs are watched.
        block: identifier of the notification block.
    """
    for notice in NOTICES:
        watched: dict[str, str | list[str]] = {}
        if notice.of_runs:
            watched = {"prefect.resource.role": "work-pool", "prefect.resource.name": pool}
        automation = AutomationCore(
            name=notice.name,
            trigger=EventTrigger(
                expect=set(notice.events),
                match_related=ResourceSpecification(watched),
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[
                SendNotification(block_document_id=block, subject=notice.subject, body=notice.body)
            ],
        )
        yield keep_automation(client, automation)


def notification_block(client: SyncPrefectClient, told: str) -> UUID:
    """The identifier of the block that `told` names.

    Args:
        client: of the server.
        told: TYPE/NAME of a block, e.g. slack-webhook/ops; or the http(s) address of a webhook that
            takes {"text": …} as Slack's and Mattermost's do, for which a block is made or changed.

    Raises:
        ReelvecError: there is no such block, or it sends no notifications.
    """
    kind, _, name = told.strip().partition("/")
    if told.strip().startswith(("http://", "https://")):
        kind, name = CustomWebhookNotificationBlock.get_block_type_slug(), _OWN_BLOCK
        _save_webhook(told.strip())
    remedy = (
        "make one in the UI (Blocks, +; e.g. Slack Webhook, Sendgrid Email) and give its"
        " TYPE/NAME, or give the https://… address of a webhook"
    )
    try:
        document = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise ReelvecError(f"the server has no block ({told}) to tell by: {remedy}") from None
    if document.block_schema is None or "notify" not in document.block_schema.capabilities:
        raise ReelvecError(f"the block ({told}) sends no notifications: {remedy}")
    return document.id


def _save_webhook(url: str) -> None:
    """The address is kept as a secret: who knows a chat's webhook can write there."""
    block = CustomWebhookNotificationBlock(
        name="Reelvec",
        url="{{url}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"url": url}),
    )
    block.save(_OWN_BLOCK, overwrite=True)
