"""The command line, touching a file as a stage begins: python -m tests.drills.at_stage FILE STAGE …

Run as a terminal would start it: SIGINT and SIGHUP are heeded, whatever the parent does with them.
"""

import signal
import sys
from pathlib import Path


def main():
    marker, stage, *words = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    from reelvec.flows.console.stopping import ending_at_once

    with ending_at_once():
        from reelvec.flows import cli
        from reelvec.flows.stages import STAGES

    original = STAGES[stage]

    def marked(*arguments):
        Path(marker).touch()
        return original(*arguments)

    STAGES[stage] = marked
    sys.argv = ["reelvec", *words]
    cli.main()


if __name__ == "__main__":
    main()
