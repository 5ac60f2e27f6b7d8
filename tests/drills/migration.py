"""A migration killed at many points, while a reader polls: it never sees a third thing.

    python -m tests.drills.migration --kills 100

A store with one run is migrated to another model. First to the end, which names the write points
(each fsync, link, put and delete, before and after) and gives the tables to be reached. Then, for
one point after the other, a child migrates a fresh copy and kills itself there; the migration is
given again; and all the while another process opens the store as a reader does, again and again.
What it sees must be all of the old tables or all of the new, and never the old after the new. At
the end the new ones are searched, are what the undisturbed migration made, and the store is
healthy. Prints a table by write point (after Ctrl-C, of the kills so far); exits 1 where anything
else was seen.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from reelvec.flows.migrating import MigrationOptions, migrate
from reelvec.storage.layout import WRITERS
from reelvec.storage.roots import open_root
from reelvec.storage.sealing import checksum_of_bytes
from reelvec.storage.upkeep.verify import verify_store
from tests.drills.kill_matrix import Points, in_child, must
from tests.support.migrating import ground_in, make_ground, run, seen

PAUSE = 0.05
"""Seconds between two looks of the reader, which takes its part of the machine too."""
COLUMNS = ("points", "kills", "reads", "old", "new", "wrong")


def state(store):
    """What a reader sees, in a word."""
    name, vectors = seen(store)
    content = b"".join(key.encode() + row for key, row in sorted(vectors.items()))
    return f"{name} {len(vectors)} {checksum_of_bytes(content)}"


def poll(store, out, stop):
    """Looks until told to stop; a line a look."""
    with out.open("w") as lines:
        while not stop.exists():
            try:
                found = state(store)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            lines.write(json.dumps(found) + "\n")
            time.sleep(PAUSE)


def start_reader(store, out, stop):
    reader = os.fork()
    if reader == 0:
        try:
            poll(store, out, stop)
        finally:
            os._exit(0)
    return reader


def work(ground, store, *, die_at=None, names=None):
    points = Points(die_at=die_at)
    points.install()
    go(ground, store)
    if names is not None:
        names.write_text(json.dumps(points.names))


def go(ground, store):
    options = MigrationOptions(weights=str(ground.weights))
    migrate(str(store), options=options, run=run, say=lambda _: None)


def fresh(ground, place):
    shutil.rmtree(place, ignore_errors=True)
    ignored = shutil.ignore_patterns(WRITERS)
    return shutil.copytree(ground.store, place, copy_function=os.link, ignore=ignored)


def prepare(folder, *, videos):
    """The ground, the names of the write points, and the two states that may be seen."""
    must(in_child(partial(make_ground, folder, videos=videos)), "the first run")
    ground = ground_in(folder)
    whole, names = fresh(ground, folder / "whole"), folder / "names"
    must(in_child(partial(work, ground, whole, names=names)), "the undisturbed migration")
    states = tuple(told(partial(state, store), folder) for store in (ground.store, whole))
    return ground, json.loads(names.read_text()), states


def told(look, folder):
    """What a child process answers: this one is forked again and again, so has no threads."""
    answer = folder / "answer"
    must(in_child(lambda: answer.write_text(json.dumps(look()))), "a look")
    return json.loads(answer.read_text())


def damage(store):
    return [found.path for found in verify_store(open_root(store))]


def one_kill(ground, number, states, *, folder):
    """What the reader saw, and what is wrong ("": nothing)."""
    store = str(fresh(ground, folder / "hurt"))
    out, stop = folder / "seen", folder / "stop"
    stop.unlink(missing_ok=True)
    reader = start_reader(store, out, stop)
    try:
        killed = in_child(partial(work, ground, store, die_at=number)) == -signal.SIGKILL
        after = told(partial(state, store), folder)
        again = in_child(partial(go, ground, store))
        last = told(partial(state, store), folder)
    finally:
        stop.touch()
        os.waitpid(reader, 0)
    looks = [json.loads(line) for line in out.read_text().splitlines()]
    order = [states.index(look) if look in states else -1 for look in [*looks, last]]
    wrong = [look for look in [*looks, after] if look not in states]
    if again or last != states[1]:
        wrong.append(f"given again it ended with {again}: {last}")
    elif order != sorted(order):
        wrong.append("the old tables were seen after the new ones")
    wrong += told(partial(damage, store), folder)
    counts = Counter(reads=len(looks), old=order.count(0), new=order[:-1].count(1))
    return counts + Counter(kills=int(killed), wrong=int(bool(wrong))), "; ".join(wrong[:3])


def drill(kills, *, seed, folder, videos=4):
    """{write point: Counter of COLUMNS}: each named point once, then others by chance."""
    ground, names, states = prepare(folder, videos=videos)
    rng = random.Random(seed)
    numbers = rng.sample(range(len(names)), len(names))
    first = list({names[number]: number for number in numbers}.values())
    rest = [number for number in numbers if number not in first]
    table = {name: Counter(points=count) for name, count in Counter(names).items()}
    with contextlib.suppress(KeyboardInterrupt):
        for count, number in enumerate((first + rest)[:kills], 1):
            row, wrong = one_kill(ground, number, states, folder=folder)
            table[names[number]] += row
            words = f"kill {count:>3} at {names[number]}: {wrong or 'right'}"
            print(words, file=sys.stderr, flush=True)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelvec-migration-") as folder:
        table = drill(options.kills, seed=options.seed, folder=Path(folder))
    print(f"| write point | {' | '.join(COLUMNS)} |")
    print("| --- |" + " --- |" * len(COLUMNS))
    total = sum(table.values(), Counter())
    for name, row in [*table.items(), ("all", total)]:
        print(f"| {name} | {' | '.join(str(row[column]) for column in COLUMNS)} |")
    sys.exit(1 if total["wrong"] or not total["kills"] else 0)


if __name__ == "__main__":
    main()
