"""What a sandbox is given: limits of a job, and of the pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from reelvec.configs.decoding import JobLimits

__all__ = ["SandboxOptions"]


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """Limits of a job and of the pool."""

    limits: JobLimits = field(default_factory=JobLimits)
    """Of one job. Memory is that of a worker and what it started, above what it was forked with."""
    workers: int = 1
    recycle_after: int = 1000
    """Jobs of one worker; then a fresh one, against slow leaks in native code."""
    slot_bytes: int = 16 * 2**20
    """Result memory a worker keeps between jobs."""
    max_result_bytes: int = 2 * 2**30
    """Largest result of a job in memory."""
    scratch: Path | None = None
    """Folder on a disk for larger results, in files without a name; None: they are refused."""
    results_ahead: int = 2
    """Finished results held per worker while an earlier job is still running."""
    preload: tuple[str, ...] = ("av", "numpy")
    """Modules imported once, before workers are forked; pools of the same ones share a process that
    forks: pyarrow's has a thread, which decoders are not forked beside."""
    also: tuple[str, ...] = ()
    """Imported there too, for all workers to come, as soon as one pool asks for them."""
