"""``FailingProcess``: a process of which one call fails, or at which it dies; and the places that call the disk."""

from __future__ import annotations

import ast
import errno
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import count, product
from pathlib import Path
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from tests.simulation.disk.model import ModelledDisk
from tests.support.examples import ALL

CALLS: Final = frozenset(
    {
        *("open", "close", "read", "pread", "write", "pwrite", "fsync", "fstat", "stat", "lstat", "listdir", "scandir"),
        *("mkdir", "rmdir", "unlink", "replace", "link", "utime", "chmod", "chown", "flock", "exchange"),
        *("getxattr", "setxattr", "removexattr", "opened", "mapped", "begin_to_store"),
    }
)
"""The calls of a ``Disk``."""
SOURCES: Final = Path(__file__).parents[3] / "src" / "marketpipe"
DISK: Final = "shared_kernel/infrastructure/machine/disk.py"
"""Its functions call the disk for others: the place is the one that calls them."""
STARTS: Final = count(1)
ERRORS: Final = (errno.EIO, errno.ENOSPC, errno.EACCES)


class Killed(BaseException):
    """The process has died."""


@frozen(order=True)
class Place:
    """A line that calls the disk. ``file`` is relative to the package."""

    file: str
    line: int
    call: str


class FailingProcess:
    """Counts its calls. The one with the number ``at`` fails with the error ``code``; without one the process dies.

    ``living`` are the processes of its machine, by number, with when they were started. ``places``, if given, gets the
    places that call the disk.
    """

    def __init__(
        self, living: dict[int, int], at: int = 0, code: int | None = None, places: set[Place] | None = None
    ) -> None:
        self._places, self._at, self._code, self._living, self.count, self.dead = places, at, code, living, 0, False
        self.number = max(living, default=0) + 1  # numbers are used again; no two processes have begun at one time
        living[self.number] = next(STARTS)

    @property
    def scheduler(self) -> FailingProcess:
        return self

    def block(self, until: object) -> None:
        raise AssertionError("it waits for a lock that nobody releases")

    def call(self, kind: str, target: str = "") -> None:
        if self.dead:
            raise Killed
        self.count += 1
        if self._places is not None:
            self._places.add(Place(*_caller(), kind))
        if self.count == self._at:
            if self._code is None:
                self.end()
                raise Killed
            raise OSError(self._code, os.strerror(self._code), target)

    def end(self) -> None:
        self.dead = True
        self._living.pop(self.number, None)

    def machine(self, disk: ModelledDisk) -> Machine:
        return Machine(disk=disk.of(self), processes=_Processes(self._living, self.number), numbers=count(1))


@frozen
class _Processes:
    living: Mapping[int, int]
    own: int

    def number(self) -> int:
        return self.own

    def place(self) -> tuple[str, str, str]:
        return "0" * 8, "1" * 8, "2"

    def start_of(self, number: int, /) -> int | None:
        return self.living.get(number)

    def file_system_of(self, path: Path, /) -> str | None:
        return None


def failures(calls: int, *, each_once: bool = False) -> Iterator[tuple[int, int | None]]:
    """Yield the number of a call and its error, None for a death.

    ``make test`` tries a death and one error for each second call, or for one of five one of both if a call is to fail
    ``each_once``.
    """
    for at in range(1, calls + 1, 1 if ALL else 5 if each_once else 2):
        kinds = (None, *(ERRORS if ALL else ERRORS[at % 3 :][:1]))
        yield from product([at], kinds if ALL or not each_once else kinds[at % 2 :][:1])


def _caller() -> tuple[str, int]:
    """Return the file and the line of the package that called the disk."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(str(SOURCES)) and not file.endswith(DISK):
            return file[len(str(SOURCES)) + 1 :], frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0


def places_in(file: str) -> Iterator[Place]:
    """Yield the lines of a file of the package that call a disk themselves."""
    for node in ast.walk(ast.parse((SOURCES / file).read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            of = node.func.value
            name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
            if name.lstrip("_") == "disk":
                yield Place(file, node.lineno, node.func.attr)
