"""The system calls of a thread, in order, observed with the interpreter's profiling hook."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from attrs import define, field, frozen

WATCHED = {"write", "fsync", "replace", "unlink", "scandir", "listdir"}


@frozen
class SystemCall:
    """One call. ``target`` is the path that fsync syncs; ``files`` are the finished files just before the call."""

    name: str
    target: str | None
    size: int | None
    files: dict[str, bytes] = field(repr=False)


@define
class SystemCalls:
    """A context manager; ``calls`` are those made below ``root``, or on a path that cannot be found out."""

    root: Path
    watched: Collection[str] = frozenset(WATCHED)
    calls: list[SystemCall] = field(factory=list)

    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def __enter__(self) -> SystemCalls:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in self.watched and function.__module__ == "posix":
            target = self._synced(frame) if function.__name__ == "fsync" else None
            size = target.stat().st_size if target is not None and target.is_file() else None
            where = None if target is None else str(target.relative_to(self.root))
            self.calls.append(SystemCall(function.__name__, where, size, self._files()))

    def _synced(self, frame: FrameType) -> Path | None:
        """Return the path of the caller's variable ``descriptor``: hooks do not see the arguments of C functions."""
        path = Path(os.readlink(f"/proc/self/fd/{frame.f_locals['descriptor']}"))
        return path if path.is_relative_to(self.root) else None

    def _files(self) -> dict[str, bytes]:
        found = [path for path in self.root.rglob("[!.]*") if path.is_file()]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}
