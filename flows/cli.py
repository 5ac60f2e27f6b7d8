"""`reelvec`: the command line. Exit codes say what failed; tracebacks are bugs.

0 done · 1 a run or the store failed · 2 wrong call or configuration
3 too many videos failed · 4 damage found · 70 a defect of Reelvec itself
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

import typer

__all__ = ["app", "main"]

# Set before Prefect and Dask are imported: their own log lines are for servers, not for a person's
# terminal.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")

from reelvec.flows.commands import corpora, keeping, looking, running, weights

app = typer.Typer(
    name="reelvec",
    help="Turn videos and captions into retrieval-ready embedding tables, and keep them true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (running, looking, corpora, keeping, weights):
    group.register(app)


def main() -> None:
    """Entry point: errors a person can cause are one message on stderr and an exit code."""
    from reelvec.configs import ConfigError
    from reelvec.models.errors import ModelError
    from reelvec.storage.errors import ReelvecError
    from reelvec.tasks.corpus.ledger import TooManyFailedError

    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except ConfigError as error:
        _fail(error, code=2)
    except TooManyFailedError as error:
        _fail(error, code=3)
    except (ReelvecError, ModelError) as error:
        _fail(error, code=1)
    except KeyboardInterrupt:
        print("interrupted; what is committed is intact, run again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("REELVEC_DEBUG"):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"reelvec: internal error: {type(error).__name__}: {error}"
            f" (at {last.filename}:{last.lineno}); please report it,"
            " REELVEC_DEBUG=1 shows the traceback",
            file=sys.stderr,
        )
        sys.exit(70)


def _end(number: int, _: object) -> None:
    """As after Ctrl-C: what was started, Prefect's own server too, ends with this process."""
    sys.exit(128 + number)


def _fail(error: Exception, *, code: int) -> None:
    print(f"reelvec: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
