from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ImportError("not now")


def leave_pandas_out() -> None:
    """Saves half a second in a process of our own: pyarrow imports pandas, where it is there, with its first array.

    It finds none, and looks for none again until somebody wants a ``DataFrame``. Not for a process in which a user may
    make arrays of pandas objects.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, finder := _NoPandas())
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(finder)
