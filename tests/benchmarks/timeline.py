"""Where a command's time goes: how many cores each of its processes had, step by step.

    python -m tests.benchmarks.timeline [--step 0.2] COMMAND…
    python -m tests.benchmarks.timeline reelvec embed VIDEOS --weights ViT-B-32.pt --store STORE

A process is a column, the first is the command. Its number is CPU seconds a second of all its
threads, which `/proc/PID/task/*/schedstat` counts in nanoseconds: 2.0 of two cores are all of them.
Looking takes a few hundredths of a core. What the command says stands beside the step in which it
said it, so that stages are told apart. Linux only.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import psutil

from tests.benchmarks._trees import reelvec

LOOK_SECONDS = 0.02
SHOWN = 0.01
"""Cores; less is left blank."""


def cpu_seconds(process):
    """Of every thread of a process: (process, thread) -> seconds; of what has ended nothing."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found[process, task.name] = nanoseconds / 1e9
    return found


def tree(process):
    """Numbers of a process and all below it."""
    try:
        return [process.pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def watched(command, *, step):
    """(process, number of the step) -> CPU seconds, number of the step -> words, clock seconds."""
    started = time.monotonic()

    def now():
        return int((time.monotonic() - started) / step)

    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    spent, words, known = defaultdict(float), defaultdict(list), {}

    def listen():
        for line in running.stdout:
            words[now()].append(line.strip())

    listener = threading.Thread(target=listen)
    listener.start()
    root = psutil.Process(running.pid)
    while running.poll() is None:
        for pid in tree(root):
            try:
                seconds = cpu_seconds(pid)
            except OSError:  # it has ended
                continue
            for thread, value in seconds.items():
                spent[pid, now()] += value - known.get(thread, 0.0)
            known |= seconds
        time.sleep(LOOK_SECONDS)
    listener.join()
    return spent, words, time.monotonic() - started


def show(spent, words, *, step):
    processes = sorted({process for process, _ in spent})
    print(f"{'second':>6} {'cores':>6}  of each process, and what the command says")
    for number in range(1 + max(at for _, at in spent)):
        cores = [spent.get((process, number), 0.0) / step for process in processes]
        each = "".join(f"{one:6.2f}" if one >= SHOWN else " " * 6 for one in cores)
        said = "; ".join(line for line in words.get(number, ()) if line)
        print(f"{number * step:6.1f} {sum(cores):6.2f}  {each}  {said[:60]}".rstrip())


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.timeline")
    parser.add_argument("--step", type=float, default=0.2, help="seconds")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(list(arguments))
    if not given.command:
        parser.error("no command is given")
    command = given.command
    if command[0] == "reelvec":
        command = reelvec(*command[1:])
    spent, words, clock = watched(command, step=given.step)
    show(spent, words, step=given.step)
    cpu = sum(spent.values())
    load = os.getloadavg()[0]
    print(f"{cpu:.1f} CPU s, {clock:.1f} s by the clock, load {load:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main(sys.argv[1:])
