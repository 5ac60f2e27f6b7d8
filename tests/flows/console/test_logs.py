"""What Prefect's loggers may say on a person's terminal."""

import logging
import sys

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from reelvec.flows.console.logs import (
    _brief,
    _escape,
    keep_logs_brief,
    keep_logs_printable,
)


def record(name, level):
    try:
        raise ValueError("a file is missing")
    except ValueError:
        return logging.LogRecord(name, level, "x.py", 1, "it failed", (), sys.exc_info())


@pytest.mark.parametrize(
    ("name", "level", "shown"),
    [
        ("prefect.flow_runs", logging.ERROR, False),
        ("prefect.flow_runs", logging.WARNING, True),
        ("prefect.task_runs", logging.ERROR, True),
    ],
)
def test_a_failure_is_one_line_at_most(name, level, shown):
    said = record(name, level)
    assert _brief(said) is shown
    assert "Traceback" not in logging.Formatter("%(message)s").format(said)


def test_a_name_in_a_log_line_is_escaped_and_so_is_its_traceback():
    try:
        raise ValueError("\x1b]0;owned\x07.mp4\nis missing")
    except ValueError:
        told = sys.exc_info()
    said = logging.LogRecord(
        "prefect.task_runs", logging.ERROR, "x.py", 1, "%s: failed", ("\x9b2J\n.mp4",), told
    )
    assert _escape(said) is True
    shown = logging.Formatter("%(message)s").format(said)
    assert shown.startswith("\\x9b2J\\n.mp4: failed\nTraceback")
    assert set(filter(lambda c: not c.isprintable(), shown)) == {"\n"}


def test_the_consoles_of_flows_are_filtered(monkeypatch):
    console, other = PrefectConsoleHandler(), logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [console, other])
    monkeypatch.delenv("REELVEC_DEBUG", raising=False)
    keep_logs_printable()
    keep_logs_printable()
    keep_logs_brief()
    assert (console.filters, other.filters) == ([_escape, _brief], [])
