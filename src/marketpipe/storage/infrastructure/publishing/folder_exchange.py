"""Exchanging a folder for another one in a single step, so that no moment shows files of both, or of none.

The new folder is made outside of the tree that it goes into: other programs read ``data/**/*.parquet``, and some find
files in hidden folders too. What a crash leaves there is no more than a copy.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, make_folders, matching, remove_tree
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.infrastructure.compacted.month_file import StoredDayFile
from marketpipe.storage.infrastructure.publishing.access_rights import give_rights, rights_of
from marketpipe.storage.infrastructure.publishing.durable_files import (
    TOGETHER_FILES,
    SameThread,
    sync_folder,
)
from marketpipe.storage.infrastructure.publishing.left_folders import remove_left_folder
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.publishing.staged_files import NewFile, write_and_sync
from marketpipe.storage.infrastructure.publishing.temporary_files import is_left_behind, temporary_name

STAGING: Final = "exchange"
UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY})
"""Of a file system without this call, of a system without it, and of two file systems. Not of a missing permission."""


class Exchanged(Enum):
    """How an attempt to replace a folder ended. Nothing is changed if it was not ``DONE``."""

    DONE = auto()
    UNSUPPORTED = auto()
    CHANGED_MEANWHILE = auto()


class FolderExchange:
    """Replaces the files of a folder by others, all at once and durably. Raises ``StorageError``."""

    def __init__(
        self,
        files: PublishedFiles,
        data: Path,
        staging: Path,
        executor: Executor | None = None,
        exchange: Callable[[Path, Path], None] | None = None,
        machine: Machine = HERE,
    ) -> None:
        """The folders to replace are below ``data``. New ones are made in ``staging``, a root of the store on the same
        file system.

        ``exchange`` is that of the disk, or what stands in for it.
        """
        self._files, self._data, self._staging, self._executor = files, data, staging, executor or SameThread()
        self._machine, self._disk = machine, machine.disk
        self._exchange, self._swept = exchange or machine.disk.exchange, False

    def replace(
        self, folder: Path, files: Sequence[StoredDayFile], is_as_expected: Callable[[Path], bool]
    ) -> Exchanged:
        """Put these files in the place of all that the folder has.

        ``is_as_expected`` is called with the place of the former folder after the exchange. If it returns False, or if
        it raises an error, the folder gets its place back.
        """
        self._files.announce(folder)
        with _translated(folder):
            above = self._staging_folder()
            staged = above / folder.relative_to(self._data)
            self._fill(staged, above, files, folder)
            try:
                self._exchange(staged, folder)
            except OSError as error:
                remove_tree(self._disk, above)
                if error.errno in UNSUPPORTED:
                    return Exchanged.UNSUPPORTED
                raise
            # From here on the staged folder is the former one: an error leaves it, and ``sweep`` keeps
            # it if it has a day that the store lacks.
            kept = False
            try:
                kept = is_as_expected(staged)
            finally:
                if not kept:
                    self._exchange(staged, folder)
                for parent in (folder.parent, staged.parent):  # before the former files are removed
                    sync_folder(parent, self._disk)
            remove_tree(self._disk, above)
            return Exchanged.DONE if kept else Exchanged.CHANGED_MEANWHILE

    def sweep(self) -> None:
        """Remove the copies that processes that are gone have left. ``replace`` does it once."""
        self._swept = True
        with suppress(OSError):  # what cannot be listed is left to the next process
            for path in matching(self._disk, self._staging, f".{STAGING}.*"):
                if is_left_behind(path.name, self._staging, self._machine):
                    remove_left_folder(path, self._data, self._disk)

    def _staging_folder(self) -> Path:
        """Make a temporary folder, for one exchange."""
        make_folders(self._disk, self._staging)
        self._files.announce(self._staging)
        if not self._swept:
            self.sweep()
        above = self._staging / temporary_name(STAGING, self._machine)
        self._disk.mkdir(above)
        return above

    def _fill(self, staged: Path, above: Path, files: Sequence[StoredDayFile], former: Path) -> None:
        """Make a folder with these files, durably. ``above`` is the temporary folder that it is in, however deep.

        Folder and files get the rights of the ``former`` ones: the umask and the group of this process may be others
        than those of the process that made these.
        """
        try:
            make_folders(self._disk, staged)
            new = [NewFile(staged / file.name, file.content, file.modified_ns) for file in files]
            parts = [new[start : start + TOGETHER_FILES] for start in range(0, len(new), TOGETHER_FILES)]
            for written in [self._executor.submit(write_and_sync, part, self._machine) for part in parts]:
                for file in written.result():
                    file.publish()
            if (first := _first_file(former, self._disk)) is not None:
                of_file = rights_of(first, self._disk)
                for each in files:
                    give_rights(staged / each.name, of_file, self._disk)
            give_rights(staged, rights_of(former, self._disk), self._disk)
            sync_folder(staged, self._disk)
        except OSError:
            remove_tree(self._disk, above)
            raise


def _first_file(folder: Path, disk: Disk) -> Path | None:
    paths = (folder / name for name in sorted(disk.listdir(folder)))
    return next((path for path in paths if stat.S_ISREG(disk.lstat(path).st_mode)), None)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = folder / error.filename if isinstance(error.filename, str) else folder  # some are relative to a folder
        raise StorageError(
            f"cannot write {where}: {error.strerror}. Nothing was lost; free space or allow writing"
        ) from error
