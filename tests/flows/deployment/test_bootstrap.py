"""What `reelvec bootstrap` makes on a server: once, and the same the second time."""

import pytest

from reelvec.flows.deployment.bootstrap import bootstrap_server
from reelvec.flows.deployment.heartbeats import BEATING, with_beats, zombie_automations


@pytest.mark.flow
def test_everything_is_made_once(prefect_server):
    from prefect.client.orchestration import get_client

    list(bootstrap_server(pool="second"))
    again = list(bootstrap_server(pool="second"))
    assert len(again) == 4 and all(line.endswith("is there") for line in again)
    with get_client(sync_client=True) as client:
        assert client.read_work_pool("second").type == "process"
        limits = client.read_global_concurrency_limits()
        assert [limit.limit for limit in limits if limit.name == "gpu"] == [1]
        there = {automation.name: automation for automation in client.read_automations()}
    for meant in zombie_automations():
        found = there[meant.name]
        assert found.enabled and found.trigger.within == meant.trigger.within
        assert [action.type for action in found.actions] == ["change-flow-run-state"]


def test_a_live_run_is_not_called_dead():
    """Of runs that beat every 180 s two beats may be missing, of those that say so more."""
    everyone, ours = zombie_automations()
    assert everyone.trigger.match_related.root == {}
    assert everyone.trigger.within.total_seconds() >= 3 * 180
    assert ours.trigger.match_related.root == {"prefect.resource.id": f"prefect.tag.{BEATING}"}
    (seconds,) = with_beats({})["env"].values()
    assert ours.trigger.within.total_seconds() >= 6 * int(seconds)


def test_a_run_that_dies_before_its_first_beat_is_noticed_too():
    """Only where runs beat for certain: another one may be told not to beat at all."""
    everyone, ours = zombie_automations()
    assert ours.trigger.after - everyone.trigger.after == {"prefect.flow-run.Running"}


def test_whatever_name_the_last_state_has_the_run_is_over():
    for automation in zombie_automations():
        assert "prefect.flow-run.Degraded" in automation.trigger.expect


def test_other_job_variables_stay():
    given = {"env": {"CUDA_VISIBLE_DEVICES": "1"}, "stream_output": False}
    both = with_beats(given)
    assert both["stream_output"] is False and both["env"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert with_beats(both) == both and len(both["env"]) == 2
