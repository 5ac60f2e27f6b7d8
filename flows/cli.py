"""`reelvec`: the command line. Exit codes say what failed; tracebacks are bugs.

0 done · 1 a run or the store failed, or what is named is not there · 2 wrong call or configuration
3 too many videos failed · 4 damage found · 5 a gate refused · 70 a defect of Reelvec itself
130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP

This module reads nothing heavy before signals are heeded.
"""

from __future__ import annotations

import os
import sys
import traceback
from itertools import pairwise
from typing import Any, NoReturn

from reelvec.flows.console.stopping import Stopped, ending_at_once, stopping_on_signals

__all__ = ["main"]


def main() -> None:
    """Entry point: errors a person can cause are one message on stderr and an exit code."""
    with ending_at_once():
        from reelvec.configs import ConfigError
        from reelvec.flows.commands.app import app
        from reelvec.flows.console.output import complain, speak_any_encoding
        from reelvec.models.errors import ModelError
        from reelvec.storage.errors import CorpusError, ReelvecError
        from reelvec.storage.places.failures import words_for
        from reelvec.tasks.corpus.errors import TooManyFailedError
        from reelvec.tasks.migration.errors import GateRefusedError

        speak_any_encoding()
    try:
        with stopping_on_signals():
            code = app(standalone_mode=False) or 0
        sys.exit(code)
    except (ConfigError, CorpusError) as error:
        _fail(error, code=2)
    except TooManyFailedError as error:
        _fail(error, code=3)
    except GateRefusedError as error:
        _fail(error, code=5)
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
        _report(error)


def _report(defect: Exception) -> NoReturn:
    """What is nobody's fault but ours, in one line."""
    from reelvec.flows.console.output import complain

    last = traceback.extract_tb(defect.__traceback__)[-1]
    complain(
        f"reelvec: internal error: {type(defect).__name__}: {defect}"
        f" (at {last.filename}:{last.lineno}); please report it,"
        " REELVEC_DEBUG=1 shows the traceback"
    )
    sys.exit(70)


def _refuse_words(error: Any) -> NoReturn:
    """Words that no command takes: what typer says, as it says it, but for what they may hold."""
    from reelvec.configs.errors import rule
    from reelvec.flows.console.output import printable

    words = rule(error.message)
    if words.startswith("it must ") and (value := _typed(error)) is not None:
        words = f"{words}, not ({value})"
    error.message = "\n".join(map(printable, words.split("\n")))
    error.show()
    sys.exit(error.exit_code)


def _typed(error: Any) -> str | None:
    """What stands on the command line for the option that an error is about."""
    options = tuple(getattr(getattr(error, "param", None), "opts", ()))
    for word, following in pairwise([*sys.argv, ""]):
        name, equals, value = word.partition("=")
        if name in options:
            return value if equals else following
    return None


def _fail(error: Exception | str, *, code: int) -> None:
    from reelvec.flows.console.output import complain

    complain(f"reelvec: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()
