"""The pull step of the deployments: enter the folder that relative paths start from.

A process worker starts each run in a temporary folder that is deleted afterwards, and Prefect's own
`set_working_directory` step writes a path of the deploying machine into the deployment. Here it is
the folder the worker was started in: a checkout, or /data in the image.
"""

from __future__ import annotations

import os
from pathlib import Path

from reelvec.storage.errors import ReelvecError

__all__ = ["enter_worker_folder"]


def enter_worker_folder() -> dict[str, str]:
    """Change to $REELVEC_HOME, else to the folder the worker was started in ($PWD of its shell).

    Returns:
        `directory`, absolute: Prefect starts the run's process there.

    Raises:
        ReelvecError: neither is set, or it is no folder on the worker's machine.
    """
    named = os.environ.get("REELVEC_HOME") or os.environ.get("PWD") or ""
    folder = Path(named)
    if not folder.is_absolute() or not folder.is_dir():
        raise ReelvecError(
            f"the worker's folder ({named}) is not a folder of this machine; start the worker with"
            " REELVEC_HOME=/absolute/path, below which relative stores and videos are found"
        )
    os.chdir(folder)
    return {"directory": str(folder)}
