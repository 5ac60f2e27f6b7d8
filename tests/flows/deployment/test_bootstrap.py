"""What `reelvec bootstrap` makes on a server: once, and the same the second time."""

import pytest

from reelvec.flows.deployment.bootstrap import ZOMBIES, bootstrap_server


@pytest.mark.flow
def test_everything_is_made_once(prefect_server):
    from prefect.client.orchestration import get_client

    list(bootstrap_server(pool="second"))
    again = list(bootstrap_server(pool="second"))
    assert len(again) == 3 and all(line.endswith("is there") for line in again)
    with get_client(sync_client=True) as client:
        assert client.read_work_pool("second").type == "process"
        limits = client.read_global_concurrency_limits()
        assert [limit.limit for limit in limits if limit.name == "gpu"] == [1]
        (automation,) = [a for a in client.read_automations() if a.name == ZOMBIES]
    assert automation.enabled
    # heartbeats come every 180 s: one may be late, a live run must not be called dead
    assert automation.trigger.within.total_seconds() >= 3 * 180
    assert [action.type for action in automation.actions] == ["change-flow-run-state"]
