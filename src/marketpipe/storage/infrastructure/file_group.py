from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from attrs import field, frozen

SUFFIX: Final = ".tmp"
NUMBERS: Final = count(1)
TOGETHER_BYTES: Final = 32_768
TOGETHER_FILES: Final = 8
"""Small files are handed on together, up to so many: to hand one on takes as long as to write it. All are open then."""


@frozen
class NewFile:
    """``modified_ns`` is to become its modification time, if given."""

    path: Path
    content: bytes = field(repr=False)
    modified_ns: int | None


@frozen
class StagedFile:
    """Durable, under a name that no reader looks at; ``modified_ns`` as the file itself says it."""

    path: Path
    temporary: Path
    modified_ns: int

    def take_its_place(self) -> None:
        """Raises ``OSError``."""
        with _naming(self.path):
            os.replace(self.temporary, self.path)


class FileGroup:
    """Files on their way to their places: they are written and synced under temporary names while others are added.

    Whoever adds files makes the next ones while those before them wait for the disk.
    """

    def __init__(self, prepare: Callable[[Path], Collection[Path]], at_once: Executor | None) -> None:
        """``prepare`` makes a folder, and tells which others have to be synced for its sake."""
        self._prepare, self._at_once = prepare, at_once
        self._next, self._size = list[NewFile](), 0
        self._coming: list[Future[Sequence[StagedFile]]] = []
        self.folders = set[Path]()
        """Those that have to be synced once all files are in their places."""
        self.modified_ns = dict[Path, int]()
        """The modification times of the files that are in their places, as the files themselves say them."""

    def add(self, path: Path, content: bytes, modified_ns: int | None = None) -> None:
        """``modified_ns`` becomes its modification time. Raises ``OSError``."""
        if (folder := path.parent) not in self.folders:
            self.folders.update(self._prepare(folder))
            self.folders.add(folder)
        self._next.append(NewFile(path, content, modified_ns))
        self._size += len(content)
        if self._size >= TOGETHER_BYTES or len(self._next) == TOGETHER_FILES:
            self._hand_on()

    def settle(self) -> None:
        """All into their places, none before all are durable. Raises ``OSError``."""
        if self._next:
            self._hand_on()
        for one in [staged for coming in self._coming for staged in coming.result()]:
            one.take_its_place()
            self.modified_ns[one.path] = one.modified_ns
        self._coming.clear()

    def give_up(self) -> None:
        """Nothing stays that is not in its place."""
        wait(self._coming)
        for coming in self._coming:
            if coming.done() and coming.exception() is None:
                for staged in coming.result():
                    staged.temporary.unlink(missing_ok=True)

    def _hand_on(self) -> None:
        files, self._next, self._size = self._next, [], 0
        if self._at_once is not None:
            self._coming.append(self._at_once.submit(stage, files))
        else:
            done = Future[Sequence[StagedFile]]()
            done.set_result(stage(files))
            self._coming.append(done)


def stage(files: Sequence[NewFile]) -> Sequence[StagedFile]:
    """All are written before the first is synced: a disk then commits them together.

    Raises ``OSError``; then nothing is left of any.
    """
    with ExitStack() as undo:
        with ExitStack() as opened:
            written = [_written(file, undo, opened) for file in files]
            staged = [_synced(*each) for each in written]
        undo.pop_all()
    return staged


def _written(file: NewFile, undo: ExitStack, opened: ExitStack) -> tuple[NewFile, Path, int]:
    """With the descriptor of the temporary file, for as long as it is ``opened``."""
    path, temporary = file.path, file.path.with_name(f".{file.path.name}.{os.getpid()}-{next(NUMBERS)}{SUFFIX}")
    with _naming(path):
        opened.callback(_close, path, descriptor := _new_file(temporary))
        undo.callback(temporary.unlink, missing_ok=True)
        left = memoryview(file.content)
        while left:
            left = left[os.write(descriptor, left) :]
    return file, temporary, descriptor


def _synced(file: NewFile, temporary: Path, descriptor: int) -> StagedFile:
    with _naming(file.path):
        if file.modified_ns is not None:  # before the sync, or a crash could lose it
            os.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
        os.fsync(descriptor)
        return StagedFile(file.path, temporary, os.fstat(descriptor).st_mtime_ns)


def _close(path: Path, descriptor: int) -> None:
    with _naming(path):
        os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A write that fails names no file, and this one is what is missing."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _new_file(path: Path) -> int:
    """Never what lies there already: in a folder that others may write to it may be a link to somewhere else."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, 0o666)
