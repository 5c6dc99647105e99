"""Keeps packages out of a process of our own that others import for features which no command uses.

pyarrow imports pandas with its first array, to recognise pandas objects: a quarter of a second. httpx imports click for
a command line of its own, httpcore trio and anyio for event loops, tenacity tornado, prometheus_client snappy for a
protocol that no server of ours speaks. Each of them goes on without, as if it was not installed. They are kept from
these importers alone: exchange_calendars gets its pandas.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

UNNEEDED: Final = {
    "pandas": ("marketpipe", "pyarrow"),
    "trio": ("httpcore",),
    "click": ("httpx",),
    "tornado": ("tenacity",),
    "anyio": ("httpcore",),
    "snappy": ("prometheus_client",),
}
"""The packages, and who must not import them. Compiled code imports in the name of the Python code that called it."""
MAKES_FRAMES: Final = "pyarrow.pandas_compat"
"""The part of pyarrow that makes a ``DataFrame``, which needs pandas."""


class _Refusal:
    """A finder of modules, which finds none."""

    def find_spec(self, name: str, *_: object) -> None:
        if name in UNNEEDED and _is_refused(name, _importer(sys._getframe(1))):
            raise ImportError(f"{name} is not imported here: this process does not need it", name=name)


_REFUSAL: Final = _Refusal()


def keep_out_unneeded_imports() -> None:
    """Refuse these imports from now on.

    Not for a process in which others may make Arrow arrays of pandas objects: pyarrow does not look for pandas twice.
    """
    if _REFUSAL not in sys.meta_path:
        sys.meta_path.insert(0, _REFUSAL)


def allow_all_imports() -> None:
    """Allow them again, for code that is not ours. To be called before the first array is made."""
    if _REFUSAL in sys.meta_path:
        sys.meta_path.remove(_REFUSAL)


def _is_refused(name: str, importer: str) -> bool:
    return importer.partition(".")[0] in UNNEEDED[name] and importer != MAKES_FRAMES


def _importer(frame: FrameType | None) -> str:
    """Return the module whose code imports: the frames of the import system itself are skipped."""
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))
