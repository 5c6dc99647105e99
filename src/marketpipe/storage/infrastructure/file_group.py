from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

SUFFIX: Final = ".tmp"
NUMBERS: Final = count(1)


@frozen
class StagedFile:
    """Durable, under a name that no reader looks at; ``modified_ns`` as the file itself says it."""

    temporary: Path
    modified_ns: int


class FileGroup:
    """Files on their way to their places: each is written and synced under a temporary name as soon as it is added.

    Whoever adds files makes the next one while those before it wait for the disk.
    """

    def __init__(self, prepare: Callable[[Path], Collection[Path]], at_once: Executor | None) -> None:
        """``prepare`` makes a folder, and tells which others have to be synced for its sake."""
        self._prepare, self._at_once = prepare, at_once
        self._coming: dict[Path, Future[StagedFile]] = {}
        self.folders = set[Path]()
        """Those that have to be synced once all files are in their places."""
        self.modified_ns = dict[Path, int]()
        """The modification times of the files that are in their places, as the files themselves say them."""

    def add(self, path: Path, content: bytes, modified_ns: int | None = None) -> None:
        """``modified_ns`` becomes its modification time. Raises ``OSError``."""
        if (folder := path.parent) not in self.folders:
            self.folders.update(self._prepare(folder))
            self.folders.add(folder)
        if self._at_once is None:
            done = Future[StagedFile]()
            done.set_result(stage(path, content, modified_ns))
            self._coming[path] = done
        else:
            self._coming[path] = self._at_once.submit(stage, path, content, modified_ns)

    def settle(self) -> None:
        """All into their places, none before all are durable. Raises ``OSError``."""
        wait(self._coming.values())
        staged = {path: coming.result() for path, coming in self._coming.items()}
        for path, one in staged.items():
            os.replace(one.temporary, path)
            self.modified_ns[path] = one.modified_ns
        self._coming.clear()

    def give_up(self) -> None:
        """Nothing stays that is not in its place."""
        wait(self._coming.values())
        for coming in self._coming.values():
            if coming.done() and coming.exception() is None:
                coming.result().temporary.unlink(missing_ok=True)


def stage(path: Path, content: bytes, modified_ns: int | None) -> StagedFile:
    """What is to take the place of ``path``. Raises ``OSError``; then nothing is left of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(NUMBERS)}{SUFFIX}")
    try:
        with _new_file(temporary) as file, ExitStack() as undo:
            undo.callback(temporary.unlink, missing_ok=True)
            staged = StagedFile(temporary, _written(file, content, modified_ns))
            undo.pop_all()
            return staged
    except OSError as error:
        error.filename = str(path)  # a write that fails names no file, and this one is what is missing
        raise


def _written(file: BinaryIO, content: bytes, modified_ns: int | None) -> int:
    file.write(content)
    file.flush()
    if modified_ns is not None:  # before the sync, or a crash could lose it
        os.utime(file.fileno(), ns=(modified_ns, modified_ns))
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_mtime_ns


def _new_file(path: Path) -> BinaryIO:
    """Never what lies there already: in a folder that others may write to it may be a link to somewhere else."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return open(os.open(path, flags, 0o666), "wb")
    except FileExistsError:
        path.unlink()
        return open(os.open(path, flags, 0o666), "wb")
