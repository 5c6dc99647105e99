from __future__ import annotations

import errno
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import StorageError

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


NO_LINK = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EEXIST}
"""Another file system, one without links, too many of them, or a name that is taken: a copy can still be made."""
OWN_TEMPORARY = re.compile(r"\..+\.([1-9]\d{0,8})-\d+\.tmp", re.ASCII)


class DurableFiles:
    """Publishes files so that no reader sees half of one and no crash loses one that was reported.

    A group of files is written under temporary names in their own folders, synced, renamed, and each folder synced
    once. Temporary files that a dead process left behind go when their folder is next written to.
    """

    def __init__(self, at_once: Executor | None = None) -> None:
        """``at_once`` syncs the files of a group: a disk commits many that wait together as quickly as one of them."""
        self._lock, self._known, self._at_once = threading.Lock(), set[Path](), at_once
        self._unsynced = Counter[Path]()

    def publish(self, contents: Mapping[Path, bytes], modified_ns: int | None = None) -> None:
        """``modified_ns`` becomes the modification time of all the files.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """
        with self.group() as group:
            for path, content in contents.items():
                group.add(path, content, modified_ns)

    @contextmanager
    def group(self) -> Iterator[FileGroup]:
        """What is added is published at the end; nothing of it where that is an error.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """
        with self._new_folders() as prepare, _translated():
            group = FileGroup(prepare, self._at_once)
            try:
                yield group
                group.settle()
            finally:
                group.give_up()
            self._sync(group.folders)

    def keep(self, second_names: Mapping[Path, Path]) -> None:
        """Gives each file a name under which it stays when another takes its place. Raises ``StorageError``.

        No file of the store is ever written in place, so a link holds its bytes as well as a copy does.
        """
        with self._new_folders() as prepare, _translated(*second_names.values()), ExitStack() as undo:
            folders = {name.parent for name in second_names.values()}
            above = {parent for folder in folders for parent in prepare(folder)}
            for path, name in second_names.items():
                _link_or_copy(path, name, undo)
            self._sync(folders | above)

    def confirm(self, paths: Collection[Path]) -> None:
        """Files that lie there already are durable too when this returns. Raises ``StorageError``.

        The process that renamed them may have died before it synced their folder.
        """
        with _translated(*paths):
            self._sync({path.parent for path in paths})

    def remove(self, path: Path) -> None:
        with _translated(path):
            path.unlink(missing_ok=True)

    def stamp(self, path: Path, modified_ns: int) -> None:
        with _translated(path):
            os.utime(path, ns=(modified_ns, modified_ns))

    def _sync(self, folders: Collection[Path]) -> None:
        """In any order; none is under way any more when this returns or raises."""
        if self._at_once is None or len(folders) < 2:
            for folder in folders:
                _sync_folder(folder)
            return
        futures = [self._at_once.submit(_sync_folder, folder) for folder in folders]
        wait(futures)
        for future in futures:
            future.result()

    @contextmanager
    def _new_folders(self) -> Iterator[Callable[[Path], Collection[Path]]]:
        """What makes a folder and tells those above it that have to be synced before the folder is there for good.

        That may be because another thread has only just made one of them.
        """
        made: list[Path] = []

        def prepare(folder: Path) -> Collection[Path]:
            with self._lock:
                above = [] if folder in self._known and folder.is_dir() else _make_folder(folder)
                made.extend(above)
                self._known.add(folder)
                self._unsynced.update(above)
                return [parent for parent in folder.parents if self._unsynced[parent]]

        yield prepare
        with self._lock:
            self._unsynced -= Counter(made)


def _make_folder(folder: Path) -> list[Path]:
    """Parents too. Those in which there is a new name: it has to be synced, or a crash could lose the whole branch."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in missing:
        _sweep(folder)
    return [made.parent for made in missing]


def _link_or_copy(path: Path, name: Path, undo: ExitStack) -> None:
    """Where ``name`` is taken, a crash left it there: it is the same file, and at any rate the newer one counts."""
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        (staged,) = stage([NewFile(name, path.read_bytes(), path.stat().st_mtime_ns)])
        undo.callback(staged.temporary.unlink, missing_ok=True)
        staged.take_its_place()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    for leftover in folder.glob(f".*{SUFFIX}"):
        ours = OWN_TEMPORARY.fullmatch(leftover.name)
        if ours and not _is_alive(int(ours[1])):
            leftover.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _translated(*paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or next(iter(paths), "the store")
        raise StorageError(
            f"cannot write {where}: {error.strerror}. Nothing was lost; free space or allow writing"
        ) from error
