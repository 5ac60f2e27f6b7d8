"""What Prefect's loggers may say on a person's terminal."""

from __future__ import annotations

import logging
import os
import traceback

from reelvec.flows.console.output import printable

__all__ = ["keep_logs_brief", "keep_logs_printable"]


def keep_logs_printable() -> None:
    """Escape what a terminal would obey in the log lines of flows, here and in workers."""
    _filter_consoles(_escape)


def keep_logs_brief() -> None:
    """Keep tracebacks off the terminal too: the command line reports a failure once."""
    if not os.environ.get("REELVEC_DEBUG"):
        _filter_consoles(_brief)


def _filter_consoles(keep: logging._FilterType) -> None:
    from prefect.logging.handlers import PrefectConsoleHandler

    for handler in logging.getLogger().handlers:  # Prefect's import has set them up
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(keep)


def _escape(record: logging.LogRecord) -> bool:
    """A log filter that keeps every record: its message on one line, its traceback on several."""
    record.msg, record.args = printable(record.getMessage()), None
    if record.exc_info:
        lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")
        record.exc_text = "\n".join(map(printable, lines))
    return True


def _brief(record: logging.LogRecord) -> bool:
    """A log filter: no failed flows, and of a task run that is retried one line.

    A server has had the traceback before: its handler comes first.
    """
    record.exc_info, record.exc_text = None, None
    return record.name != "prefect.flow_runs" or record.levelno < logging.ERROR
