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

from reelvec.errors import ReelvecError

if TYPE_CHECKING:
    from reelvec.api.dataset import FrameDataset, Sample
    from reelvec.api.run import Run
    from reelvec.api.store import Store, open
    from reelvec.api.table import Table

__all__ = ["FrameDataset", "ReelvecError", "Run", "Sample", "Store", "Table", "open"]

_ROOMS = {
    "FrameDataset": "dataset",
    "Run": "run",
    "Sample": "dataset",
    "Store": "store",
    "Table": "table",
    "open": "store",
}
"""Name -> the module of `reelvec.api` it comes from."""

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """PEP 562: a name is imported when it is first used, and stays."""
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.api.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
