"""The stages as Prefect flows, the pipeline, the scheduled run, the command line."""

import os

__all__ = ()

# Before Prefect is imported: it would tell its makers of its use, and say so on the terminal.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
