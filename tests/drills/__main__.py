"""What is done to a run and its store, and what must hold after the next one: a table.

    python -m tests.drills                 # all
    python -m tests.drills --only mount    # those whose name holds the word
    python -m tests.drills --short         # those that CI does
    python -m tests.drills --everything    # and each refused call, and each signal: hours

Exits 1 where a row is wrong.
"""

import argparse
import subprocess
import sys

from tests.drills import doors, losses, writers
from tests.drills.ground import ground, table

DRILLS = (*losses.DRILLS, *writers.DRILLS, *doors.DRILLS)
TABLES = ("tests.drills.faults", "tests.drills.signals")
"""Whose rows are too many for one table."""


def run(drills):
    """The rows, told one by one on stderr."""
    rows = []
    with ground() as place:
        for drill in drills:
            row = place.attempt(drill)
            print(f"{row.name}: {row.wrong or row.seen}", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="words of a drill's name")
    parser.add_argument("--short", action="store_true", help="those that CI does")
    parser.add_argument("--everything", action="store_true", help="faults and signals too")
    options = parser.parse_args()
    chosen = [d for d in DRILLS if options.only in d.name and (d.short or not options.short)]
    if not chosen:
        sys.exit(f"no drill is named so ({options.only}): {', '.join(d.name for d in DRILLS)}")
    right = [table(run(chosen))]
    for module in TABLES if options.everything else ():
        right.append(subprocess.run([sys.executable, "-m", module], check=False).returncode == 0)
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
