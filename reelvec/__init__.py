"""Reelvec: videos and captions into retrieval-ready embedding tables, kept true.

::

    import reelvec

    store = reelvec.open("reelvec-store")            # or s3://bucket/prefix
    run = store.run()                                # the last run that has tables; or by name
    ids, vectors = run.videos.numpy()                # ids [N], vectors [N, D]
    queries = run.encode_texts(["a red circle"])     # [1, D], by the model that made the tables
    best = run.search("a red circle", top=5)

docs/python.md shows the rest. Importing this costs nothing: each name brings what it needs when it
is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reelvec.api.dataset import FrameDataset, Sample
    from reelvec.api.run import Run
    from reelvec.api.store import Store
    from reelvec.api.store import open_store as open
    from reelvec.api.table import Table
    from reelvec.errors import ReelvecError

__all__ = ["FrameDataset", "ReelvecError", "Run", "Sample", "Store", "Table", "open"]

_HOMES = {
    "FrameDataset": ("reelvec.api.dataset", "FrameDataset"),
    "ReelvecError": ("reelvec.errors", "ReelvecError"),
    "Run": ("reelvec.api.run", "Run"),
    "Sample": ("reelvec.api.dataset", "Sample"),
    "Store": ("reelvec.api.store", "Store"),
    "Table": ("reelvec.api.table", "Table"),
    "open": ("reelvec.api.store", "open_store"),
}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """PEP 562: a name is imported when it is first used, and stays."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _HOMES[name]
        found = getattr(import_module(module), attribute)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
