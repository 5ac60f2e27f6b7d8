"""The sandbox against targets that hang, crash, eat memory and lie; nothing is left behind."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from reelvec.configs.decoding import JobLimits
from reelvec.storage.sandbox import pool as module
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.pool import Sandbox
from reelvec.storage.sandbox.slots import PAGE, ArrayPlace, Slot, SlotWriter
from reelvec.storage.sandbox.zygote import Zygote, ZygoteError, zygote_of_this_process

TARGET = "tests.storage.sandbox.targets:behave"
PRELOAD = ("numpy", "tests.storage.sandbox.targets")
ROOT = Path(__file__).parents[3]


def options(**changes):
    given = {"deadline_seconds": 20, "no_progress_seconds": 10, "memory_mb": 800}
    given |= {name: changes.pop(name) for name in given if name in changes}
    return SandboxOptions(limits=JobLimits(**given), **{"preload": PRELOAD, **changes})


def run(*jobs, **changes):
    with Sandbox(TARGET, options=options(**changes)) as sandbox:
        return list(sandbox.run(jobs))


def answer(n, **more):
    return {"do": "answer", "n": n, **more}


def test_results_come_in_job_order_with_their_arrays():
    """The first job is the slowest: later ones wait for it."""
    results = run(answer(5, sleep=0.3), *(answer(n) for n in range(6, 30)), workers=3)
    assert [r.value["n"] for r in results] == list(range(5, 30))
    for result in results:
        first, second = result.arrays
        n = result.value["n"]
        assert (first.shape, first.dtype) == ((n, 3), np.uint8)
        assert (first == n).all()
        assert second.tolist() == [n, -1.5]
        assert (result.reason, result.attempts) == ("", 1)


def test_arrays_are_the_callers_own():
    first, second = run(answer(5), answer(7))
    first.arrays[0][:] = 99
    assert (second.arrays[0] == 7).all()


def test_results_held_and_jobs_taken_are_bounded():
    taken = []

    def jobs():
        for n in range(50):
            taken.append(n)
            yield answer(n)

    with Sandbox(TARGET, options=options(workers=2, results_ahead=2)) as sandbox:
        for seen, _ in enumerate(sandbox.run(jobs())):
            assert len(taken) <= seen + 1 + 4


def test_a_worker_has_its_next_job_before_who_reads_has_the_result():
    taken = []

    def jobs():
        for n in range(6):
            taken.append(n)
            yield answer(n)

    with Sandbox(TARGET, options=options(workers=1, results_ahead=2)) as sandbox:
        for seen, _ in enumerate(sandbox.run(jobs())):
            assert len(taken) == min(seen + 2, 6)


def test_no_jobs_no_processes():
    with Sandbox(TARGET, options=options()) as sandbox:
        assert list(sandbox.run([])) == []
        assert sandbox._workers == []


@pytest.mark.parametrize(
    ("what", "reason", "changes"),
    [
        ("sleep", "timeout", {"deadline_seconds": 0.5}),
        ("stall", "no_progress", {"no_progress_seconds": 0.5}),
        ("stall", "timeout", {"deadline_seconds": 0.5}),
        ("abort", "crashed", {}),
        ("exit", "crashed", {}),
        ("eat", "memory", {"memory_mb": 300}),
        ("gulp", "memory", {}),
        ("too_much", "memory", {}),
        ("raise", "error", {}),
    ],
)
def test_each_way_to_fail_has_its_reason_and_stops_nobody_else(what, reason, changes):
    started = time.monotonic()
    good, bad, after = run(answer(1), {"do": what}, answer(2), **changes)
    assert (bad.reason, bad.value, bad.arrays) == (reason, None, ())
    assert (good.value["n"], after.value["n"]) == (1, 2)
    assert time.monotonic() - started < 60


def test_a_worker_is_replaced_only_after_it_was_killed():
    results = run(answer(1), answer(2), {"do": "abort"}, answer(3))
    pids = [r.value["pid"] for r in results if r.value]
    assert pids[0] == pids[1] != pids[2]
    assert not psutil.pid_exists(pids[0])


def test_last_words_of_a_crash_are_kept():
    (result,) = run({"do": "abort"})
    assert result.attempts == 2
    assert "free(): invalid pointer" in result.message
    assert "SIGABRT" in result.message


def test_a_job_that_crashes_once_is_tried_once_more(tmp_path):
    results = run(answer(1), {"do": "abort_once", "marker": str(tmp_path / "m")}, answer(2))
    assert [r.reason for r in results] == ["", "", ""]
    assert results[1].attempts == 2


def test_workers_are_recycled():
    results = run(*(answer(n) for n in range(6)), recycle_after=2)
    pids = [r.value["pid"] for r in results]
    assert len(set(pids)) == 3
    assert pids[0] == pids[1]


def test_what_a_worker_started_dies_with_it(tmp_path):
    pidfile = tmp_path / "pid"
    (result,) = run({"do": "child", "pidfile": str(pidfile)}, deadline_seconds=1)
    assert result.reason == "timeout"
    assert gone(int(pidfile.read_text()))


def test_leaving_early_kills_what_still_runs():
    with Sandbox(TARGET, options=options(workers=2)) as sandbox:
        results = sandbox.run([answer(1), {"do": "sleep"}])
        assert next(results).value["n"] == 1
        pids = [worker.child.pid for worker in sandbox._workers]
        results.close()
        assert len(sandbox._workers) == 1  # the idle one stays for the next run
    assert all(gone(pid) for pid in pids)


def test_workers_that_cannot_start_are_not_started_for_ever():
    started = time.monotonic()
    with (
        Sandbox("tests.storage.sandbox.targets:missing", options=options()) as sandbox,
        pytest.raises(ZygoteError, match="missing"),
    ):
        list(sandbox.run([answer(1)]))
    assert time.monotonic() - started < 60


def test_a_lost_zygote_is_replaced():
    zygote = zygote_of_this_process(PRELOAD)
    zygote._process.kill()
    zygote._process.wait()
    assert run(answer(4))[0].value["n"] == 4


def test_workers_outlive_the_working_directory_of_their_owner(tmp_path, monkeypatch):
    """In one that is removed MKL ended them, and every video was said to have crashed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    with monkeypatch.context() as there:
        there.chdir(gone)
        zygote_of_this_process(PRELOAD, fresh=True)
    gone.rmdir()
    assert run(answer(1))[0].value["cwd"] == os.sep


def test_a_zygote_that_still_imports_ends_with_its_owner(tmp_path, monkeypatch):
    (tmp_path / "takes_long.py").write_text(
        "import pathlib, time\npathlib.Path(__file__).with_name('begun').touch()\ntime.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    zygote = Zygote(("takes_long",))
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    began = time.monotonic()
    zygote.close()
    assert time.monotonic() - began < 30


def test_one_zygote_for_all_threads():
    seen = []

    def work():
        seen.append(([r.value["n"] for r in run(answer(1), answer(2))], id(zygote())))

    def zygote():
        return zygote_of_this_process(PRELOAD)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [numbers for numbers, _ in seen] == [[1, 2]] * 4
    assert len({which for _, which in seen}) == 1


def test_what_one_sandbox_imports_more_is_there_for_all_later_workers():
    zygote, job = zygote_of_this_process(PRELOAD, fresh=True), {"do": "modules", "names": ["wave"]}
    given = ({}, {"also": ("wave",)}, {})
    there = [run(job, **changes)[0].value["there"] for changes in given]
    assert there == [[False], [True], [True]]
    assert zygote_of_this_process(PRELOAD) is zygote


def test_workers_compute_with_one_thread():
    (result,) = run(answer(1))
    assert result.value["threads"] == 1


@pytest.mark.parametrize("environment", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}])
def test_memory_of_one_picture_is_there_for_the_next(environment, monkeypatch):
    """A picture of 1 MB is 256 pages; from the kernel again it would be 1,024 for four."""
    for name, value in environment.items():  # as Dask leaves it behind
        monkeypatch.setenv(name, value)
        zygote_of_this_process(PRELOAD, fresh=True)
    (result,) = run({"do": "pages"})
    assert max(result.value["pages"]) < 256


def test_memory_given_back_after_a_large_result():
    with Sandbox(TARGET, options=options(slot_bytes=2**16)) as sandbox:
        list(sandbox.run([answer(10**6)]))
        size = os.fstat(sandbox._workers[0]._slot.fd).st_size
    assert size <= 2**16 + PAGE


def test_tick_is_short_enough_for_memory():
    assert module.TICK_SECONDS <= 0.25


# Results larger than memory.


def fill(frames):
    return {"do": "fill", "frames": frames}


def test_a_large_result_waits_on_the_disk_and_not_in_memory(tmp_path):
    """400 MiB from a worker that may hold 256: its pages are given back as it goes on."""
    changes = {"max_result_bytes": 8 * 2**20, "memory_mb": 256, "scratch": tmp_path}
    with Sandbox(TARGET, options=options(**changes)) as sandbox:
        results = sandbox.run([fill(400), answer(3), fill(2)])
        large = next(results)
        assert list(tmp_path.iterdir()) == []  # a file without a name: nothing to clean up
        frames, facts = large.arrays
        assert (large.reason, frames.shape, facts.tolist()) == ("", (400, 2**20), [400, 7])
        assert not frames.flags.writeable
        assert frames[:, 0].tolist() == frames[:, -1].tolist() == [n % 251 for n in range(400)]
        assert gone(large.value["pid"])  # before it was mapped: nobody can cut it short
        small, after = results
    assert small.value["n"] == 3
    assert after.arrays[0][:, 5].tolist() == [0, 1] and after.arrays[0].flags.writeable
    assert frames[399, 7] == 399 % 251  # the sandbox is closed, and the file is still the caller's


def test_a_disk_without_room_is_said_before_it_kills(tmp_path, monkeypatch):
    """Writing to a mapping of a file that cannot grow is a signal, and no error."""

    def full(file, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    slot = Slot(keep_bytes=0, scratch=tmp_path)
    writer = SlotWriter(slot.fds, max_bytes=0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MemoryError, match="No space left") as caught:
        writer.allocate((2**20,))
    slot.close()
    for part in ("no room", "extract.sampling.max_frames", ".scratch"):
        assert part in str(caught.value)


def test_without_a_scratch_folder_large_results_are_refused():
    (result,) = run(fill(9), max_result_bytes=8 * 2**20)
    assert result.reason == "memory"
    assert "extract.sampling.max_frames" in result.message


def test_a_job_may_have_more_time_than_another():
    jobs = [{"do": "answer", "n": 1, "sleep": 1.0}, {"do": "sleep"}, answer(2)]
    with Sandbox(TARGET, options=options(deadline_seconds=0.3)) as sandbox:
        slow, endless, after = sandbox.run(jobs, deadline=lambda job: 10.0 * (job.get("n") == 1))
    assert (slow.reason, endless.reason, after.reason) == ("", "timeout", "")
    for key in ("0.3 s", "extract.deadline_seconds", "deadline_seconds_per_gigapixel"):
        assert key in endless.message


# The caller's surroundings.

PROGRAM = textwrap.dedent(
    """
    import json, multiprocessing, os, sys, time
    from reelvec.storage.sandbox.options import SandboxOptions
    from reelvec.storage.sandbox.pool import Sandbox
    print("imported", __name__, flush=True)

    def main():
        options = SandboxOptions(preload=("numpy", "tests.storage.sandbox.targets"))
        with Sandbox("tests.storage.sandbox.targets:behave", options=options) as sandbox:
            results = sandbox.run([{"do": "answer", "n": 3}, {"do": "sleep"}] if HANG else
                                  [{"do": "answer", "n": 3}])
            first = next(results)
            zygote = sandbox._workers[0]._zygote._process.pid
            pids = [zygote] + [worker.child.pid for worker in sandbox._workers]
            print(json.dumps({"n": first.value["n"], "pids": pids}), flush=True)
            list(results)

    """
)


def script(tmp_path, ending, *, hang=False):
    path = tmp_path / "tool"  # without .py, as console scripts are
    path.write_text(f"HANG = {hang}\n{PROGRAM}\n{ending}\n")
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )


@pytest.mark.parametrize(
    "ending",
    [
        "main()",  # no __main__ guard: multiprocessing would import it again, and again
        "import threading; t = threading.Thread(target=main); t.start(); t.join()",
        "if __name__ == '__main__':\n"
        "    p = multiprocessing.get_context('fork').Process(target=main, daemon=True)\n"
        "    p.start(); p.join(); sys.exit(p.exitcode)",
    ],
    ids=["unguarded main", "thread", "daemonic process, as a Dask worker"],
)
def test_works_wherever_it_is_called_from(tmp_path, ending):
    process = script(tmp_path, ending)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = out.splitlines()
    assert lines[0] == "imported __main__"
    assert len(lines) == 2
    assert json.loads(lines[1])["n"] == 3


def test_kill_9_of_the_owner_leaves_no_process_and_no_memory(tmp_path):
    before = set(os.listdir("/dev/shm"))
    process = script(tmp_path, "main()", hang=True)
    process.stdout.readline()
    pids = json.loads(process.stdout.readline())["pids"]
    assert all(psutil.pid_exists(pid) for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert all(gone(pid) for pid in pids)
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "reelvec" in name}


STOPPED = """
import json
from reelvec.configs.decoding import JobLimits
limits = JobLimits(deadline_seconds=60, no_progress_seconds=3, memory_mb=800)
options = SandboxOptions(limits=limits, preload=("numpy", "tests.storage.sandbox.targets"))
with Sandbox("tests.storage.sandbox.targets:behave", options=options) as sandbox:
    results = sandbox.run([{"do": "answer", "n": 3}, {"do": "work", "seconds": 2.0}])
    next(results)
    zygote = sandbox._workers[0]._zygote._process.pid
    print(json.dumps([zygote] + [worker.child.pid for worker in sandbox._workers]), flush=True)
    print(json.dumps(next(results).reason), flush=True)
"""


def test_nobody_is_late_for_the_time_all_stood_still(tmp_path):
    """A terminal's Ctrl-Z, a machine that sleeps: longer than a decoder may be silent."""
    process = script(tmp_path, STOPPED)
    process.stdout.readline()
    pids = [process.pid, *json.loads(process.stdout.readline())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4.0)
    for pid in pids:  # the owner looks before its workers have given a sign of life
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out) == ""


def gone(pid, within=5.0):
    """The process has ended (a zombie without a parent to reap it counts)."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# Slots.


def test_a_slot_believes_nothing():
    slot = Slot(keep_bytes=2**16)
    writer = SlotWriter(slot.fds, max_bytes=2**20)
    writer.allocate((10,))[:] = 1
    (good,) = writer.places
    assert slot.take([good])[0].tolist() == [1] * 10
    for bad in (
        ArrayPlace(0, (4,), "uint8"),
        ArrayPlace(good.offset, (2**40,), "uint8"),
        ArrayPlace(good.offset, (-1,), "uint8"),
        ArrayPlace(good.offset, (1,), "object"),
    ):
        with pytest.raises(ValueError, match="does not lie"):
            slot.take([bad])
    slot.close()


def test_a_slot_grows_and_stops_at_its_limit():
    slot = Slot(keep_bytes=0)
    writer = SlotWriter(slot.fds, max_bytes=3 * PAGE)
    writer.allocate((PAGE,))[:] = 3
    writer.allocate((0, 5))
    with pytest.raises(MemoryError, match="over the limit"):
        writer.allocate((2 * PAGE,))
    full, empty = slot.take(writer.places)
    assert (full == 3).all()
    assert empty.shape == (0, 5)
    slot.close()
