"""Signals to a small program under the command line's own watch."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.programs import ROOT, heeding_ctrl_c

PROGRAM = """
import subprocess, sys, threading, time
from reelvec.flows.console import stopping
from reelvec.flows.console.stopping import Stopped, stopping_on_signals

if len(sys.argv) > 2:
    stopping._GRACE_SECONDS = float(sys.argv[2])
WORK = '''
def work():
    try:
        at_work.set()
        while True:
            time.sleep(1 / 20)
    finally:
        print("the worker has tidied up", flush=True)
        over.set()
'''

def start_worker():
    over = threading.Event()
    names = {"__name__": "reelvec.tasks.made_up", "time": time, "over": over}
    names |= {"at_work": threading.Event()}
    exec(WORK, names)
    threading.Thread(target=names["work"]).start()
    names["at_work"].wait()
    return over

def deaf():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    news = [child.pid]
    while True:
        try:
            while news:  # told where a signal is heeded already
                print(news.pop(), flush=True)
            time.sleep(1 / 20)
        except BaseException:
            print("swallowed", flush=True)

try:
    with stopping_on_signals():
        if sys.argv[1] == "deaf":
            deaf()
        over = start_worker()
        try:
            print("ready", flush=True)
            over.wait(60)
        finally:
            print("the main thread has tidied up", flush=True)
            over.wait(60)
except Stopped as stopped:
    print(stopped, flush=True)
    sys.exit(128 + stopped.number)
"""


def start(*words, ignored=()):
    def as_from_a_terminal():
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / ".editable")},
        start_new_session=True, preexec_fn=as_from_a_terminal,  # noqa: PLW1509
    )  # fmt: skip


def has_ended(pid, within=10.0):
    until = time.monotonic() + within
    while psutil.pid_exists(pid) and time.monotonic() < until:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM"])
def test_the_main_thread_and_the_workers_tidy_up(name):
    number = signal.Signals[name]
    program = start("heeds")
    assert program.stdout.readline() == "ready\n"
    os.killpg(program.pid, number)
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 128 + number
    assert out.splitlines()[-1] == name
    assert "the main thread has tidied up" in out and "the worker has tidied up" in out


def test_a_program_that_does_not_listen_is_ended_with_its_children():
    program = start("deaf")
    child = int(program.stdout.readline())
    started = time.monotonic()
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait(timeout=60) == 130
    assert time.monotonic() - started > 3, "it was given time"
    assert program.stdout.read() == "swallowed\n"
    program.stdout.close()
    assert has_ended(child)


def test_a_second_signal_ends_it_at_once():
    program = start("deaf", "600")
    child = int(program.stdout.readline())
    os.killpg(program.pid, signal.SIGINT)
    assert program.stdout.readline() == "swallowed\n"
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait(timeout=60) == 130, "not after the ten minutes it is given here"
    program.stdout.close()
    assert has_ended(child)


def test_what_is_ignored_stays_ignored():
    """Under nohup, and in the background of a shell without job control."""
    program = start("heeds", ignored=(signal.SIGHUP, signal.SIGINT))
    assert program.stdout.readline() == "ready\n"
    for number in (signal.SIGHUP, signal.SIGINT):
        os.killpg(program.pid, number)
    time.sleep(0.5)
    assert program.poll() is None
    program.terminate()
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 143 and out.splitlines()[-1] == "SIGTERM"


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM"])
def test_while_modules_are_read_a_signal_ends_it_without_a_word(tmp_path, name):
    """A module of the command line's is read for as long as the test likes."""
    program = f"""
import os, signal, sys

signal.signal(signal.{name}, signal.SIG_DFL)  # whatever this test was started with

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.{name})
            import time
            time.sleep(60)

sys.meta_path.insert(0, Slow())
from reelvec.flows.cli import main
assert not {{"typer", "numpy", "rich"}} & sys.modules.keys()
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / ".editable")},
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == 128 + getattr(signal, name)


def test_one_more_signal_while_python_itself_ends_changes_nothing():
    program = """
import os, signal, sys, time
from reelvec.flows.console.stopping import ending_at_once

class Slow:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"at its very end")
        sleep(1)

with ending_at_once():
    slow = Slow()
sys.exit(130)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / ".editable")},
        stdout=subprocess.PIPE,
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509
    )  # fmt: skip
    assert child.stdout.read(15) == b"at its very end"
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    child.stdout.close()


LAST_WORDS = """
import os, signal, time
from reelvec.flows.console.stopping import Stopped, stopping_on_signals

try:
    with stopping_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
except Stopped:
    time.sleep(1)  # who writes them may be slow
    print("the last words")
"""


def test_who_writes_the_last_words_has_the_time_to():
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=heeding_ctrl_c,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the last words\n", "")
