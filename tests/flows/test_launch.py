"""What Prefect's loggers may say on a person's terminal."""

import logging
import sys

import pytest

from reelvec.flows.launch import _brief


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
