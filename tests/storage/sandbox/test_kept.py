"""Workers that are kept between sandboxes: the same process, its limits, and its end."""

import os
import signal

import psutil

from reelvec.storage.sandbox import kept
from reelvec.storage.sandbox.kept import keeping_workers
from tests.storage.sandbox.test_sandbox import answer, gone, run


def pids(*numbers, **changes):
    """The process of each job, in a sandbox of their own."""
    return [result.value["pid"] for result in run(*map(answer, numbers), **changes)]


def test_a_worker_serves_one_sandbox_after_the_other_until_the_block_ends():
    with keeping_workers(1):
        first, again, third = pids(1), pids(2), pids(3)
        assert first == again == third
        assert psutil.pid_exists(first[0])
    assert gone(first[0])
    assert kept._KEPT == []


def test_nobody_keeps_workers_without_a_block():
    assert pids(1) != pids(2)
    assert kept._KEPT == []


def test_other_limits_are_another_worker_and_no_more_are_kept_than_said():
    with keeping_workers(1):
        (roomy,) = pids(1)
        (narrow,) = pids(1, memory_mb=300)
        assert narrow != roomy
        assert gone(roomy)
        assert pids(1, memory_mb=300) == [narrow]


def test_a_worker_that_ended_while_it_was_kept_is_not_handed_out():
    with keeping_workers(1):
        (first,) = pids(1)
        os.kill(first, signal.SIGKILL)
        assert gone(first)
        (result,) = run(answer(2))
        assert (result.reason, result.attempts) == ("", 1)


def test_what_fails_in_a_kept_worker_costs_one_job_and_the_worker():
    with keeping_workers(1):
        (first,) = pids(1)
        failed, after = run({"do": "eat"}, answer(2), memory_mb=300)
        assert (failed.reason, after.reason) == ("memory", "")
        failed, after = run({"do": "abort"}, answer(2))
        assert (failed.reason, after.reason) == ("crashed", "")
        assert gone(first)
        assert pids(3) == [after.value["pid"]]


def test_jobs_of_earlier_sandboxes_count_until_it_is_recycled():
    with keeping_workers(1):
        first = pids(1, 2, recycle_after=3)
        then = pids(3, 4, recycle_after=3)
    assert first == [then[0]] * 2
    assert then[1] != then[0]
