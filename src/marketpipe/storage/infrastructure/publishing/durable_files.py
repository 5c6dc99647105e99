"""Writing files so that no reader sees half a file and no crash loses one that was reported as stored.

The order of the steps is what makes it so: write under a temporary name, sync, rename, sync the folder.
A crash can leave temporary files, which are removed later, and published files without a checkpoint, which the next
ingestion adopts (ADR 0013).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain, takewhile
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import ABSENT
from marketpipe.shared_kernel.infrastructure.machine.disk import (
    Disk,
    exists,
    is_folder,
    is_link,
    make_folders,
    read_bytes,
    remove,
)
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.integrity import MOVE_AWAY
from marketpipe.storage.infrastructure.publishing.digest_recorder import NothingRecorded, Recorder
from marketpipe.storage.infrastructure.publishing.published_files import TOGETHER_BYTES
from marketpipe.storage.infrastructure.publishing.staged_files import (
    Naming,
    NewFile,
    StagedFile,
    write_and_sync,
)
from marketpipe.storage.infrastructure.publishing.temporary_files import WriterLock, sweep

TOGETHER_FILES: Final = 16
"""Small files go to a thread together, up to so many: a submission takes as long as writing one, and the disk commits
what is synced together once. All are open then."""
NO_LINK: Final = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EEXIST}
"""Another file system, one without links, too many links, or a name that is taken: a copy can still be made."""
NOT_ALLOWED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Missing permission, or a read-only file system."""
IN_ITS_PLACE: Final = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP}
"""A folder in the place of a file, or a file or a link in the place of a folder."""
NOT_IN_PLACE: Final = {errno.ELOOP, *NOT_ALLOWED}
"""A symbolic link, or a file that is write-protected, as git-annex leaves them: the file can still be replaced."""


class DurableFiles:
    """Publishes files so that each is, at any moment and after any crash, wholly the old one or wholly the new one.

    Temporary files of processes that are gone are removed when their folder is next written to.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        roots: Collection[Path] = (),
        recorder: Recorder | None = None,
        on_synced: Callable[[int], None] = lambda _: None,
        machine: Machine = HERE,
    ) -> None:
        """``executor`` writes and syncs files: a disk commits many that wait together as quickly as one.

        Below the ``roots`` no link is followed, or files would be written, replaced and removed outside of the store.
        ``recorder`` records what is published; None for what belongs to no store. ``on_synced`` is called with the
        number of files that were published, each synced. ``machine`` is the one that the files are on.
        """
        self._machine, self._disk = machine, machine.disk
        self._recorder, self._on_synced = recorder or NothingRecorded(), on_synced
        self._lock, self._known, self._executor = machine.threads.lock(), set[Path](), executor or SameThread()
        self._roots, self._writing = frozenset(roots), WriterLock(machine)
        self._unsynced = Counter[Path]()

    def publish(self, contents: Mapping[Path, bytes], modified_ns: int | None = None) -> None:
        """Write all files and put them in their places. ``modified_ns``, if given, becomes the modification time.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """
        with self.group() as group:
            for path, content in contents.items():
                group.add(path, content, modified_ns)

    @contextmanager
    def group(self, together: int = TOGETHER_BYTES) -> Iterator[FileGroup]:
        """Publish the files that are added, all of them at the end, or none of them if an error ends the block; but the
        block may publish those that it has added so far. They are durable at the end, if no error ends it.

        So many bytes of files go ``together`` to a thread that writes and syncs them. Raises ``StorageError``; each
        file is then wholly the old one or wholly the new one.
        """
        with self._new_folders() as prepare, _translated():
            group = FileGroup(
                prepare,
                self._sync,
                self._executor,
                self._refuse_links,
                self._recorder,
                machine=self._machine,
                together=together,
            )
            with group.recording:
                try:
                    yield group
                    group.publish()
                finally:
                    group.discard()
                # A rename is durable once its folder is synced; only then may the files be reported as stored, and
                # their former digests be forgotten: a power loss before brings back what they were, or nothing.
                self._sync(group.folders)
        if group.modified_ns:
            self._on_synced(len(group.modified_ns))

    def collected(self) -> AbstractContextManager[None]:
        """Do nothing: a file of a disk costs no request, and each step is durable before the next one."""
        return nullcontext()

    def keep(self, second_names: Mapping[Path, Path]) -> None:
        """Give each file a second name, under which it remains when another file is published over the first.

        No file of bars is ever written in place, so a link preserves its bytes as well as a copy does. The second
        names are durable when this returns. Raises ``StorageError``.
        """
        with self._new_folders() as prepare, _translated(*second_names.values()), ExitStack() as undo:
            folders = {name.parent for name in second_names.values()}
            self._sync({parent for folder in folders for parent in prepare(folder)})
            kept = [(path, name) for path, name in second_names.items() if self._recorder.records(name)]
            digests = {name: _sha256(read_bytes(self._disk, path)) for path, name in kept}
            undo.enter_context(self._recorder.recorded(digests))
            for path, name in second_names.items():
                _link_or_copy(path, name, undo, self._machine)
            self._sync(folders)

    def confirm(self, paths: Collection[Path]) -> None:
        """Make files durable that are in their places already. Raises ``StorageError``.

        The process that renamed them may have died before it synced their folders.
        """
        with _translated(*paths):
            self._sync({path.parent for path in paths})

    def remove(self, path: Path) -> None:
        """Remove the file if it exists. Raises ``StorageError``."""
        with _translated(path):
            self._refuse_links(path.parent)
            with self._recorder.recorded({path: ABSENT} if self._recorder.records(path) else {}):
                remove(self._disk, path)

    def move(self, path: Path, target: Path) -> None:
        """Move a file or folder that cannot be kept by a second name, durably. Raises ``OSError``."""
        with self._new_folders() as prepare:
            self._sync(prepare(target.parent))  # before: it has one name only, and that must not be in a lost folder
            self._disk.replace(path, target)
            self._sync({target.parent, path.parent})

    def announce(self, folder: Path) -> None:
        """Show other processes that files are staged below the root of this folder, until ``close``.

        Raises ``StorageError`` if a folder on the way is a link.
        """
        with _translated(folder):
            root = self._refuse_links(folder)
            if root is not None:
                self._writing.hold(root)

    def close(self) -> None:
        """Show other processes that this one has no staged files any more."""
        self._writing.close()

    def _refuse_links(self, folder: Path) -> Path | None:
        """Return the root that the folder is below. Raise ``OSError`` if a folder on the way is a link."""
        for place in chain((folder,), folder.parents) if self._roots else ():
            if place in self._roots:
                return place
            if is_link(self._disk, place):
                raise OSError(errno.ELOOP, "it is a link, and no link below a store's folders is followed", str(place))
        return None

    def _sync(self, folders: Collection[Path]) -> None:
        """Sync folders in any order; none is being synced any more when this returns or raises."""
        futures = [self._executor.submit(self._sync_one, folder) for folder in folders]
        self._machine.threads.wait(futures)
        for future in futures:
            future.result()

    def _sync_one(self, folder: Path) -> None:
        try:
            sync_folder(folder, self._disk)
        except OSError as error:
            # The folder that has a root is not the store's, and may be closed to it.
            if error.errno not in NOT_ALLOWED or not any(root.parent == folder for root in self._roots):
                raise

    @contextmanager
    def _new_folders(self) -> Iterator[Callable[[Path], Collection[Path]]]:
        """Yield a function that makes a folder and returns those above it that must be synced to make it durable.

        A folder above may be unsynced because another thread or process has only just made it, or a dead one has: a
        sync by who has made it may come later than our files are reported, or never, so we sync it as well.
        """
        made: list[Path] = []

        def prepare(folder: Path) -> Collection[Path]:
            root = self._refuse_links(folder)
            with self._lock:
                is_known = folder in self._known and is_folder(self._disk, folder)
                above = [] if is_known else _make_folder(folder, root, self._machine)
                if root is not None:
                    self._writing.hold(root)
                made.extend(above)
                self._known.add(folder)
                self._unsynced.update(above)
                return [parent for parent in folder.parents if self._unsynced[parent]] if self._unsynced else []

        yield prepare
        with self._lock:
            self._unsynced -= Counter(made)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


P = ParamSpec("P")
T = TypeVar("T")


class SameThread(Executor):
    """Runs at once what is submitted; an error is raised by ``submit`` itself."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done = Future[T]()
        done.set_result(fn(*args, **kwargs))
        return done


class FileGroup:
    """Files that are published together. Files are written and synced while the caller still makes the next ones."""

    def __init__(
        self,
        prepare: Callable[[Path], Collection[Path]],
        sync: Callable[[Collection[Path]], None],
        executor: Executor,
        refuse_links: Callable[[Path], object],
        recorder: Recorder,
        machine: Machine = HERE,
        together: int = TOGETHER_BYTES,
    ) -> None:
        """``prepare`` makes a folder, and returns the others that have to be synced for it, by ``sync``; they raise
        ``OSError``, and ``refuse_links`` too.
        """
        self._prepare, self._sync, self._executor, self._refuse_links = prepare, sync, executor, refuse_links
        self._machine, self._disk = machine, machine.disk
        self._recorder, self._digests = recorder, dict[Path, str]()
        self._next, self._size, self._together = list[NewFile](), 0, together
        self._coming: list[Future[Sequence[StagedFile]]] = []
        self._prepared, self._above = set[str](), set[Path]()
        self.folders = set[Path]()
        """To be synced when all files are in their places."""
        self.recording = ExitStack()
        """Leave it when the folders are synced: then the published files are what is on record of them."""
        self.modified_ns = dict[Path, int]()
        """The modification times of the published files, as the system keeps them."""

    def add(
        self, path: Path, content: bytes, modified_ns: int | None = None, taken_times: Collection[int] = ()
    ) -> None:
        """Add a ``NewFile``; many are written together. Raises ``OSError``."""
        # As text: to make a Path of each folder takes longer than all else here.
        if (name := os.path.dirname(path)) not in self._prepared:
            folder = path.parent
            self._above.update(self._prepare(folder))
            self.folders.add(folder)
            self._prepared.add(name)
        self._next.append(NewFile(path, content, modified_ns, taken_times))
        if self._recorder.records(path):
            self._digests[path] = _sha256(content)
        self._size += len(content)
        if self._size >= self._together or len(self._next) == TOGETHER_FILES:
            files, self._next, self._size = self._next, [], 0
            self._coming.append(self._executor.submit(write_and_sync, files, self._machine))

    def append(self, path: Path, lines: bytes, first_lines: Callable[[], bytes]) -> None:
        """Add lines to a text file at once, in one write: other processes may append to it at the same time.

        ``first_lines`` go before them if the file is new. The lines are not synced: use it for what can be recovered.
        A file that cannot be written in place, or that has a second name, is replaced with the group. Raises
        ``OSError``; the group can then be published without the lines.
        """
        self._refuse_links(path.parent)
        try:
            appended = _append(self._disk, path, lines)
        except FileNotFoundError:
            # The folders are synced all the same: files in them that have to be durable may be added later.
            self._above.update(self._prepare(path.parent))
            appended = _append(self._disk, path, first_lines() + lines, os.O_CREAT)
        except OSError as error:
            if error.errno not in NOT_IN_PLACE:
                raise
            appended = False
        if not appended:
            self._above.update(self._prepare(path.parent))
            self.folders.add(path.parent)
            file = NewFile(path, _content_or(self._disk, first_lines, path) + lines)
            # Written at once: an error of a file that was added would be an error of the whole group.
            self._coming.append(SameThread().submit(write_and_sync, [file], self._machine))

    def publish(self) -> None:
        """Put all files in their places, none before all are durable. Does nothing if repeated. Raises ``OSError``."""
        if self._next:
            files, self._next, self._size = self._next, [], 0
            self._coming.append(self._executor.submit(write_and_sync, files, self._machine))
        staged_files = [staged for coming in self._coming for staged in coming.result()]
        # Before the first file has its name: so a folder that has a file of ours is durable, whoever has made it.
        self._sync(self._above)
        self._above.clear()
        self.recording.enter_context(self._recorder.recorded(self._digests))
        for staged in staged_files:
            staged.publish()
            self.modified_ns[staged.path] = staged.modified_ns
        self._coming.clear()
        self._digests.clear()

    def discard(self) -> None:
        """Remove the files that are not published."""
        self._machine.threads.wait(self._coming)
        for coming in self._coming:
            if coming.done() and coming.exception() is None:
                for staged in coming.result():
                    staged.discard()


def _append(disk: Disk, path: Path, lines: bytes, flags: int = 0) -> bool:
    """Return False, and write nothing, if the file has a second name: it would change under that name too."""
    # A pipe would take the lines, and nobody would ever read them.
    descriptor = disk.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o666)
    with Naming(path):
        try:
            found = disk.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise FileExistsError(errno.EEXIST, "it is not a file")
            if found.st_nlink > 1:
                return False
            # A crash may have torn the last line; what is appended to it would be lost with it.
            torn = found.st_size and disk.pread(descriptor, 1, found.st_size - 1) != b"\n"
            left = memoryview(b"\n" + lines if torn else lines)
            while left:
                left = left[disk.write(descriptor, left) :]
        finally:
            disk.close(descriptor)
    return True


def _content_or(disk: Disk, first_lines: Callable[[], bytes], path: Path) -> bytes:
    """Return what a file has, up to the end of a line; ``first_lines`` if it is a symbolic link to nowhere."""
    try:
        return read_bytes(disk, path) + b"\n"
    except FileNotFoundError:
        return first_lines()


def _make_folder(folder: Path, root: Path | None, machine: Machine) -> list[Path]:
    """Make a folder and its parents. Return those that must be synced, or a crash could lose the branch.

    They are the folders with a new entry; and if none of our files is in the folder, all from its parent to the one
    that has the root, for a process that made some of them may have died before it synced them.
    """
    missing = list(takewhile(lambda place: not exists(machine.disk, place), chain((folder,), folder.parents)))
    make_folders(machine.disk, folder)
    if folder not in missing and sweep(folder, root, machine):
        return []
    inside = [above for above in folder.parents if root is not None and above.is_relative_to(root.parent)]
    return [*inside, *(made.parent for made in missing if made.parent not in inside)]


def _link_or_copy(path: Path, name: Path, undo: ExitStack, machine: Machine) -> None:
    """If ``name`` is taken, a crash left it: it is the same file, or else the newer one replaces it."""
    try:
        machine.disk.link(path, name)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        disk = machine.disk
        (staged,) = write_and_sync([NewFile(name, read_bytes(disk, path), disk.stat(path).st_mtime_ns)], machine)
        undo.callback(staged.discard)
        staged.publish()


def sync_folder(folder: Path, disk: Disk = REAL_DISK) -> None:
    """Make the names in a folder durable. Raises ``OSError``."""
    with Naming(folder):
        descriptor = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            disk.fsync(descriptor)
        finally:
            disk.close(descriptor)


@contextmanager
def _translated(*paths: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or next(iter(paths), "the store")
        advice = MOVE_AWAY if error.errno in IN_ITS_PLACE else "free space or allow writing"
        raise StorageError(f"cannot write {where}: {error.strerror}. Nothing was lost; {advice}") from error
