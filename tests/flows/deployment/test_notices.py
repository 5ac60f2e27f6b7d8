"""Who is told, by a real Prefect server and a webhook on loopback; and what starts by itself."""

import time
from pathlib import Path

import pytest
import yaml

from reelvec.flows import events, servers
from reelvec.flows.deployment.bootstrap import bootstrap_server
from reelvec.flows.deployment.notices import NOTICES, notification_block
from reelvec.flows.events import Event, announce
from reelvec.storage.errors import ReelvecError
from tests.support.webhook import webhook as listening

POOL = "told"
SCHEDULING = Path(__file__).parents[3] / "docs" / "scheduling.md"


@pytest.fixture(scope="module")
def webhook():
    """A chat's: its address, and the texts it got."""
    with listening("/hooks/hushhush") as found:
        yield found


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Events are waited for on a machine that is busy."""
    for module in (events, servers):
        monkeypatch.setattr(module, "_PATIENCE_SECONDS", 120.0)


@pytest.fixture(scope="module")
def client(prefect_server):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def told(client, webhook):
    """The texts, of a server whose trouble is told."""
    url, texts = webhook
    list(bootstrap_server(pool=POOL, notify=url))
    return texts


def until(found, *, seconds=240):
    """What `found` gives as soon as it gives something."""
    for _ in range(seconds * 10):
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


def deployed(client, name, *, pool=POOL):
    from prefect import flow

    noop = flow(name="noop")(lambda: None)
    return client.create_deployment(
        flow_id=client.create_flow(noop), name=name, work_pool_name=pool
    )


def tell(event, **payload):
    announce(event, identity="0123abcd", store="/srv/store", run="clips", payload=payload)


@pytest.mark.flow
def test_each_trouble_is_told_once(client, told):
    from prefect import flow
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed, Failed, State

    outside = client.create_flow_run(flow(name="noop")(lambda: None), name="on-a-command-line")
    client.set_flow_run_state(outside.id, Failed(message="a person sees that"), force=True)
    deployment = deployed(client, "nightly")
    for state in (
        Failed(message="no space left in /srv"),
        Crashed(message="No heartbeat for nine minutes."),
        State(type=StateType.SCHEDULED, name="Late"),
    ):
        run = client.create_flow_run_from_deployment(deployment, name=f"night-{state.name}")
        client.set_flow_run_state(run.id, state, force=True)
    tell(Event.REFUSED, reason="coverage 0.4 is below 0.9")
    tell(Event.QUARANTINED, quarantined=3, videos=10)
    until(lambda: len(told) >= len(NOTICES))
    first = {text.splitlines()[0]: text for text in told}
    assert set(first) == {
        "Reelvec: night-Failed failed",
        "Reelvec: night-Crashed crashed",
        "Reelvec: night-Late is late: no worker has taken it",
        "Reelvec: new tables of clips were refused",
        "Reelvec: 3 of 10 videos of clips failed",
    }
    assert len(told) == len(NOTICES)
    failed = first["Reelvec: night-Failed failed"]
    assert "nightly" in failed and "no space left in /srv" in failed
    assert not [text for text in told if "None" in text], (
        "what the server does not know is left out"
    )
    refused = first["Reelvec: new tables of clips were refused"]
    assert "store: /srv/store" in refused and "reason: coverage 0.4 is below 0.9" in refused


@pytest.mark.flow
def test_a_second_time_nothing_is_made_and_what_was_switched_off_stays_off(client, webhook, told):
    late = next(notice.name for notice in NOTICES if "late" in notice.name)
    (there,) = client.read_automations_by_name(late)
    client.pause_automation(there.id)
    lines = list(bootstrap_server(pool=POOL, notify=webhook[0]))
    assert len(lines) == 4 + len(NOTICES) and all(line.endswith("is there") for line in lines)
    # another block: the same automations, which tell by it, the one that is off too
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    CustomWebhookNotificationBlock(name="ops", url=webhook[0]).save("ops", overwrite=True)
    lines = list(bootstrap_server(pool=POOL, notify="custom-webhook/ops"))
    assert [line.partition(" (")[0] for line in lines[4:]] == ["changed automation"] * len(NOTICES)
    (after,) = client.read_automations_by_name(late)
    assert after.id == there.id and not after.enabled
    block = client.read_block_document_by_name("ops", "custom-webhook").id
    assert [action.block_document_id for action in after.actions] == [block]
    assert after.trigger.type == "event"


@pytest.mark.flow
def test_the_address_of_a_webhook_is_kept_as_a_secret(client, told):
    document = client.read_block_document_by_name(
        "reelvec", "custom-webhook", include_secrets=False
    )
    assert "hushhush" not in document.model_dump_json()


@pytest.mark.flow
@pytest.mark.parametrize("told_by", ["slack-webhook/nobody", "nonsense", "/", "ftp://host/x"])
def test_a_block_that_is_not_there(client, told_by):
    with pytest.raises(ReelvecError, match=r"no block \(.*Blocks, \+"):
        notification_block(client, told_by)


@pytest.mark.flow
def test_a_block_that_tells_nobody(client):
    from prefect.blocks.system import Secret

    Secret(value="word").save("quiet")
    with pytest.raises(ReelvecError, match="sends no notifications"):
        notification_block(client, "secret/quiet")


@pytest.mark.flow
@pytest.mark.parametrize("event", Event)
def test_each_event_starts_what_waits_for_it(client, told, event):
    """As `prefect deploy` does with the trigger that docs/scheduling.md shows."""
    from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger

    deployment = deployed(client, f"after-{event.rpartition('.')[2]}")
    (shown,) = triggers_shown()
    trigger = DeploymentEventTrigger.model_validate(shown | {"name": event, "expect": [event]})
    trigger.set_deployment_id(deployment)
    assert set(trigger.match.root) == {"reelvec.run"}
    client.create_automation(trigger.as_automation())
    announce(event, identity="0123abcd", store="/srv/store", run="another")
    tell(event)
    runs = until(lambda: of_deployment(client, deployment))
    assert [run.created_by.type for run in runs] == ["AUTOMATION"]


@pytest.mark.flow
def test_the_queue_is_counted(client, told):
    """Runs that are due, of the pool that is asked for; not those of next week."""
    from datetime import UTC, datetime, timedelta

    from prefect.states import Running, Scheduled

    from reelvec.flows.metrics import queue_metrics

    list(bootstrap_server(pool="queued"))
    deployment = deployed(client, "queued", pool="queued")
    later = datetime.now(UTC) + timedelta(days=7)
    for state in (Scheduled(), Scheduled(), Running(), Scheduled(scheduled_time=later)):
        client.create_flow_run_from_deployment(deployment, state=state)
    up, queue = queue_metrics("queued")
    assert (up.name, [sample.value for sample in up.samples]) == ("reelvec_prefect_up", [1])
    counted = {(s.labels["pool"], s.labels["state"]): s.value for s in queue.samples}
    assert counted == {("queued", "waiting"): 2, ("queued", "running"): 1}


def of_deployment(client, deployment):
    return [run for run in client.read_flow_runs() if run.deployment_id == deployment]


def triggers_shown():
    blocks = SCHEDULING.read_text().split("```yaml\n")[1:]
    pages = [yaml.safe_load(block.partition("```")[0]) for block in blocks]
    rows = [row for page in pages for row in page.get("deployments", [])]
    return [trigger for row in rows for trigger in row.get("triggers", [])]
