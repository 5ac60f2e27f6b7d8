"""What comes about in a store, told to the Prefect server, where it may start deployments.

Telling never harms the work: without a server nothing happens, a server that does not answer costs
seconds and a line on stderr, and nothing is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import copy_context
from enum import StrEnum
from typing import Any

from reelvec.flows.console.output import complain
from reelvec.flows.servers import open_client, server_url

__all__ = ["Event", "announce"]

_PATIENCE_SECONDS = 10.0


class Event(StrEnum):
    """`reelvec.<what>.<verb>`; the resource of each is `reelvec.<what>.<identity>`."""

    INGESTED = "reelvec.corpus.ingested"
    """Videos or captions were added, changed or removed."""
    QUARANTINED = "reelvec.corpus.quarantined"
    """More videos failed than extract.warn_failed_fraction allows."""
    COMMITTED = "reelvec.embeddings.committed"
    """A snapshot of embedding tables was published."""
    PROMOTED = "reelvec.embeddings.promoted"
    """An alias was pointed to these tables."""
    ROLLED_BACK = "reelvec.embeddings.rolled-back"
    """An alias was pointed back to these tables."""
    REFUSED = "reelvec.embeddings.refused"
    """A gate refused these tables; the alias stays where it was."""


def announce(
    event: Event,
    *,
    identity: str,
    store: str,
    run: str = "",
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Tell the Prefect server, if one is configured, that `event` has come about.

    Args:
        event: what.
        identity: fingerprint of the artifact it came about with.
        store: URI of the store.
        run: name of the run; with `store` a label of the resource, for triggers to match.
        payload: plain values that say more; `store`, `run` and `identity` are put beside them.
    """
    try:
        url = server_url()
        if url is None:
            return
        named = {"store": store, "run": run, "identity": identity}
        labels = {
            "prefect.resource.id": f"{event.rpartition('.')[0]}.{identity}",
            "prefect.resource.name": run or identity,
            "reelvec.store": store,
            "reelvec.run": run,
        }
        failure = _within_patience(
            url, event=event, labels=labels, payload={**named, **(payload or {})}
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the work is done and counts
        failure = error
    if failure is not None:
        reason = (str(failure) or type(failure).__name__).splitlines()[0]
        complain(f"reelvec: the Prefect server was not told of {event}: {reason}")


def _within_patience(
    url: str, *, event: Event, labels: Mapping[str, str], payload: Mapping[str, Any]
) -> Exception | None:
    """Why it could not be told in time; a thread is waited for, as an answer may come in drops."""
    failures: list[Exception] = []

    def tell() -> None:
        try:
            _tell(url, event=event, labels=labels, payload=payload)
        except Exception as error:  # noqa: BLE001 - the caller says it
            failures.append(error)

    thread = threading.Thread(
        target=copy_context().run, args=(tell,), name="reelvec-event", daemon=True
    )
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    if thread.is_alive():
        return TimeoutError(f"no answer within {_PATIENCE_SECONDS:.0f} s")
    return failures[0] if failures else None


def _tell(url: str, *, event: Event, labels: Mapping[str, str], payload: Mapping[str, Any]) -> None:
    """By a request of its own: Prefect's queue of events outlives the command when it is stuck."""
    from prefect.events.schemas.events import Event as PrefectEvent
    from prefect.events.schemas.events import RelatedResource, Resource

    body = PrefectEvent(
        event=str(event),
        resource=Resource(dict(labels)),
        related=[RelatedResource(one) for one in _flow_run()],
        payload=dict(payload),
    )
    with open_client(url) as client:
        client.request("POST", "/events", json=[body.model_dump(mode="json")])


def _flow_run() -> list[dict[str, str]]:
    """The flow run this is part of, as Prefect names it in events; none outside of one."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return []
    identifier = f"prefect.flow-run.{context.flow_run.id}"
    name = context.flow_run.name
    return [
        {
            "prefect.resource.id": identifier,
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": name,
        }
    ]
