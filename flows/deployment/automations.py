"""An automation of the server, made once and kept as it is meant to be."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore

__all__ = ["keep_automation"]


def keep_automation(client: SyncPrefectClient, automation: AutomationCore) -> str:
    """Make the automation of this name, or change it where it differs; says in a line which.

    One that a person has switched off stays off.
    """
    found = client.read_automations_by_name(automation.name)
    if not found:
        return f"created automation ({automation.name}) {client.create_automation(automation)}"
    there = found[0]
    if _meaning(there) == _meaning(automation):
        return f"automation ({automation.name}) is there"
    body = automation.model_dump(mode="json", exclude={"owner_resource"})
    # not update_automation: it leaves out what is at its default, the kind of a trigger too
    client.request(
        "PUT",
        "/automations/{id}",
        path_params={"id": there.id},
        json=body | {"enabled": there.enabled},
    )
    return f"changed automation ({automation.name}) {there.id}"


def _meaning(automation: AutomationCore) -> dict[str, Any]:
    """What is watched for, and what is done then."""
    fields = {"trigger", "actions", "description"}
    core = AutomationCore.model_validate(automation.model_dump(mode="json"))
    return core.model_dump(include=fields)
