from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from marketpipe.shared_kernel.domain.errors import StorageError

T = TypeVar("T")
R = TypeVar("R")
SUFFIX = ".tmp"
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

    def publish(self, contents: Mapping[Path, bytes], modified_ns: int | Mapping[Path, int] | None = None) -> None:
        """``modified_ns`` becomes the modification time of all the files, or of each that it names.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """
        times = modified_ns if isinstance(modified_ns, Mapping) else dict.fromkeys(contents, modified_ns)
        with _translated(*contents), ExitStack() as undo:
            for folder in {path.parent for path in contents}:
                self._prepare(folder)
            staged = self._each(lambda path: _stage(path, contents[path], times.get(path), undo), contents)
            for path, temporary in zip(contents, staged, strict=True):
                os.replace(temporary, path)
            undo.pop_all()
            self._sync_folders(contents)

    def keep(self, second_names: Mapping[Path, Path]) -> None:
        """Gives each file a name under which it stays when another takes its place. Raises ``StorageError``.

        No file of the store is ever written in place, so a link holds its bytes as well as a copy does.
        """
        with _translated(*second_names.values()), ExitStack() as undo:
            for folder in {name.parent for name in second_names.values()}:
                self._prepare(folder)
            for path, name in second_names.items():
                _link_or_copy(path, name, undo)
            self._sync_folders(second_names.values())

    def confirm(self, paths: Collection[Path]) -> None:
        """Files that lie there already are durable too when this returns. Raises ``StorageError``.

        The process that renamed them may have died before it synced their folder.
        """
        with _translated(*paths):
            self._sync_folders(paths)

    def remove(self, path: Path) -> None:
        with _translated(path):
            path.unlink(missing_ok=True)

    def stamp(self, path: Path, modified_ns: int) -> None:
        with _translated(path):
            os.utime(path, ns=(modified_ns, modified_ns))

    def _sync_folders(self, paths: Iterable[Path]) -> None:
        self._each(_sync_folder, {path.parent for path in paths})

    def _each(self, do: Callable[[T], R], items: Collection[T]) -> list[R]:
        """In any order; none is under way any more when this returns or raises."""
        if self._at_once is None or len(items) < 2:
            return [do(item) for item in items]
        futures = [self._at_once.submit(do, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def _prepare(self, folder: Path) -> None:
        with self._lock:
            if folder in self._known and folder.is_dir():
                return
            _make_folder(folder)
            _sweep(folder)
            self._known.add(folder)


def _make_folder(folder: Path) -> None:
    """Parents too; each new name is synced into the folder above it, or a crash could lose the whole branch."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_folder(made.parent)


def _stage(path: Path, content: bytes, modified_ns: int | None, undo: ExitStack) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{SUFFIX}")
    try:
        with _new_file(temporary) as file:
            undo.callback(temporary.unlink, missing_ok=True)
            file.write(content)
            file.flush()
            if modified_ns is not None:  # before the sync, or a crash could lose it
                os.utime(file.fileno(), ns=(modified_ns, modified_ns))
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)  # a write that fails names no file, and this one is what is missing
        raise
    return temporary


def _new_file(path: Path) -> BinaryIO:
    """Never what lies there already: in a folder that others may write to it may be a link to somewhere else."""
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb")


def _link_or_copy(path: Path, name: Path, undo: ExitStack) -> None:
    """Where ``name`` is taken, a crash left it there: it is the same file, and at any rate the newer one counts."""
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        os.replace(_stage(name, path.read_bytes(), path.stat().st_mtime_ns, undo), name)


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
