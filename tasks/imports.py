"""What a program need not import."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

__all__ = ["leave_pandas"]


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        del path, target
        if fullname == "pandas":
            raise ImportError("left where it is")


def leave_pandas() -> None:
    """Have pyarrow go without pandas, until something asks for it by name.

    Where it is installed pyarrow imports it, for half a second, to ask of the first list it is
    given whether that is a Series. `to_pandas` looks for it again.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
