"""`reelvec`: the command line. Exit codes say what failed; tracebacks are bugs.

0 done · 1 a run or the store failed · 2 wrong call or configuration
3 too many videos failed · 4 damage found · 70 a defect of Reelvec itself
130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

__all__ = ["app", "main"]

# Set before Prefect and Dask are imported: their own log lines are for servers, not for a person's
# terminal.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")

from reelvec.flows.commands import corpora, keeping, looking, running, runs, training, weights
from reelvec.flows.console.output import complain, printable, say, speak_any_encoding
from reelvec.flows.console.stopping import Stopped, stopping_on_signals

app = typer.Typer(
    name="reelvec",
    help="Turn videos and captions into retrieval-ready embedding tables, and keep them true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (running, looking, runs, training, corpora, keeping, weights):
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from reelvec.storage.store_format import FORMAT

        say(f"reelvec {version('reelvec')} (store format {FORMAT})")
        raise typer.Exit


@app.callback()
def _before_every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Turn videos and captions into retrieval-ready embedding tables, and keep them true."""


def main() -> None:
    """Entry point: errors a person can cause are one message on stderr and an exit code."""
    from reelvec.configs import ConfigError
    from reelvec.models.errors import ModelError
    from reelvec.storage.errors import CorpusError, ReelvecError
    from reelvec.storage.places.failures import words_for
    from reelvec.tasks.corpus.ledger import TooManyFailedError

    speak_any_encoding()
    try:
        with stopping_on_signals():
            code = app(standalone_mode=False) or 0
        sys.exit(code)
    except (ConfigError, CorpusError) as error:
        _fail(error, code=2)
    except TooManyFailedError as error:
        _fail(error, code=3)
    except (ReelvecError, ModelError) as error:
        _fail(error, code=1)
    except Stopped as stopped:
        complain(f"ended by {stopped}; what is committed is intact, run again to go on")
        sys.exit(128 + stopped.number)
    except Exception as error:
        if isinstance(error, OSError) and (words := words_for(error)):
            _fail(words, code=1)
        if hasattr(error, "format_message"):  # typer's, which brings a click of its own or not
            _refuse_words(error)
        if os.environ.get("REELVEC_DEBUG"):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        complain(
            f"reelvec: internal error: {type(error).__name__}: {error}"
            f" (at {last.filename}:{last.lineno}); please report it,"
            " REELVEC_DEBUG=1 shows the traceback"
        )
        sys.exit(70)


def _refuse_words(error: Any) -> NoReturn:
    """Words that no command takes: what typer says, as it says it, but for what they may hold."""
    words = error.message.removeprefix("Value error, ")  # pydantic's, of a choice
    error.message = "\n".join(map(printable, words.split("\n")))
    error.show()
    sys.exit(error.exit_code)


def _fail(error: Exception | str, *, code: int) -> None:
    complain(f"reelvec: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()
