"""``FailingDisk``: a disk on which one call, at one place of the source, fails once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from attrs import frozen

CALLS: Final = frozenset(
    {
        *("open", "close", "read", "pread", "write", "pwrite", "fsync", "fstat", "stat", "lstat", "listdir", "scandir"),
        *("mkdir", "rmdir", "unlink", "replace", "link", "utime", "chmod", "chown", "flock", "exchange"),
        *("opened", "mapped", "begin_to_store"),
    }
)
"""The calls of a ``Disk``."""


@frozen
class Place:
    """A line of a source file from which the disk is called. ``file`` is how the path of the file ends."""

    file: str
    line: int
    call: str

    def __str__(self) -> str:
        return f"{self.call} at {self.file}:{self.line}"


class FailingDisk:
    """``inner``, except that the first call of the name and from the place fails with the error number.

    It fails before it does anything; ``close`` closes all the same, as on Linux. ``is_reached`` tells whether it was.
    ``ready`` delays the failure until it returns True.
    """

    def __init__(self, inner: Any, place: Place, code: int, ready: Callable[[], bool] = lambda: True) -> None:
        self._inner, self._place, self._code, self._ready = inner, place, code, ready
        self.is_reached = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        return self._failing(call) if name == self._place.call and not self.is_reached else call

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def fails_once(*arguments: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            if self.is_reached or not self._is_at(caller.f_code.co_filename, caller.f_lineno) or not self._ready():
                return call(*arguments, **options)
            self.is_reached = True
            if self._place.call == "close":
                call(*arguments, **options)
            named = (str(arguments[0]),) if isinstance(arguments[0], str | os.PathLike) else ()
            raise OSError(self._code, os.strerror(self._code), *named)

        return fails_once

    def _is_at(self, file: str, line: int) -> bool:
        return line == self._place.line and file.endswith(self._place.file)
