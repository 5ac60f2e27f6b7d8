"""Whether a rival is here: installed, and loads."""

import subprocess
import sys


def missing(module):
    """Why a module does not load, as its first error says; None: it does."""
    command = [sys.executable, "-c", f"import {module}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ran.returncode:
        return None
    return next(line for line in ran.stderr.splitlines() if "Error: " in line)
