"""Which dataset the files of a store belong to: each names it, and no file of another is replaced or believed.

There is no marker file that could be lost. See docs/adr/0026.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError, DatasetMismatchError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.storage_metadata import identity_in
from marketpipe.storage.infrastructure.parquet_files import FileStatus, file_status, read_metadata
from marketpipe.storage.infrastructure.store_layout import StoreLayout, any_files

FILES_TRIED: Final = 20
FILES_COUNTED: Final = 300


class StoredIdentity:
    """Finds which dataset a store contains. Its day files name it: there is no marker file that could be lost."""

    def __init__(
        self,
        layout: StoreLayout,
        rotted: Container[Path] = (),
        recorded: Callable[[], DatasetIdentity | None] = lambda: None,
    ) -> None:
        """``rotted`` has the files that are not what was recorded of them: what they name does not count.

        ``recorded`` returns the dataset of a store whose files nobody can exchange for those of another one, as in a
        bucket, where the state says which files there are. It spares reading some before each run.
        """
        self._layout, self._disk, self._rotted, self._recorded = layout, layout.disk, rotted, recorded
        self._last: tuple[Path, FileStatus, DatasetIdentity] | None = None

    def read(self) -> DatasetIdentity | None:
        """Return that of the first file that can be read; None if nothing is stored.

        While that file stays as it is, no other is looked for.
        """
        if self._last is not None and file_status(str(self._last[0]), self._disk) == self._last[1]:
            return self._last[2]
        for path in islice(self._layout.any_day_files(), FILES_TRIED):
            if (recorded := self._recorded()) is not None:
                return recorded
            status = file_status(str(path), self._disk)
            if (found := next(_identities([path], self._disk), None)) is not None:
                self._last = None if status is None else (path, status, found)
                return found
        return None

    def prevailing(self) -> DatasetIdentity | None:
        """Return that of most of some hundred files, for one may have been copied here from another store.

        Without files of minutes, that of official days: a store may have daily bars alone.
        """
        has_minutes = any(self._layout.any_day_files())
        of_days = _identities(islice(any_files(self._layout.official, self._disk), FILES_COUNTED), self._disk)
        counted = Counter(self._found_in(FILES_COUNTED) if has_minutes else of_days).most_common(1)
        return counted[0][0] if counted else None

    def refuse_nameless(self) -> None:
        """Raise ``ConfigurationError`` if there are day files, and none of some hundred names its dataset."""
        if any(self._layout.any_day_files()) and self.prevailing() is None:
            raise ConfigurationError(
                f"nothing was recovered: no file in {self._layout.data} names its dataset: MarketPipe did not write "
                "them, or they are damaged. 'marketpipe verify' lists each with the reason; 'marketpipe import' takes "
                "in bars of other programs"
            )

    def check(self, identity: DatasetIdentity) -> None:
        """Refuse another dataset than the stored one with ``DatasetMismatchError``; change nothing.

        In every area: two stores may be configured to share one. A file that has rotted is damaged, and no reason: the
        others tell.
        """
        if self._recorded() == identity:
            return
        found = self.read()
        if found is not None and found != identity:
            other = self._unless_rotted(found)
            if other is not None and other != identity:
                raise self._mismatch(self._layout.data, other, identity, "output_path")
            if self._last is not None:  # who asks next gets the dataset of the store, not what the rotted file names
                self._last = *self._last[:2], identity
        for key, root in self._layout.derived().items():
            others = list[DatasetIdentity]()
            for path in islice(any_files(root, self._disk), FILES_TRIED):
                found = identity_of(path, self._disk)
                if found == identity:  # of a mixed area each file is compared before it is replaced
                    break
                if found is not None and path not in self._rotted:
                    others.append(found)
            else:
                if others:
                    raise self._mismatch(root, others[0], identity, key)

    def _unless_rotted(self, found: DatasetIdentity) -> DatasetIdentity | None:
        """Return what was found, or if that file has rotted what the first sound one of some names; None for none."""
        if self._last is None or self._last[0] not in self._rotted:
            return found
        sound = (path for path in islice(self._layout.any_day_files(), FILES_TRIED) if path not in self._rotted)
        return next(_identities(sound, self._disk), None)

    def _mismatch(
        self, root: Path, found: DatasetIdentity, identity: DatasetIdentity, key: str
    ) -> DatasetMismatchError:
        return DatasetMismatchError(
            f"{root} contains the dataset of {found}, not that of {identity}. "
            f"One folder is one dataset: give another {key}"
        )

    def _found_in(self, most: int) -> Iterator[DatasetIdentity]:
        return _identities(islice(self._layout.any_day_files(), most), self._disk)


def _identities(paths: Iterable[Path], disk: Disk) -> Iterator[DatasetIdentity]:
    for path in paths:
        try:
            found = identity_in(read_metadata(path, disk))
        except PartitionUnreadableError:
            continue
        if found is not None:
            yield found


def identity_of(path: Path, disk: Disk = REAL_DISK) -> DatasetIdentity | None:
    """Return the dataset that a file names; None if it does not exist or cannot be read."""
    with suppress(PartitionUnreadableError):
        return identity_in(read_metadata(path, disk))
    return None


def refuse_others(path: Path | str, found: DatasetIdentity | None, ours: DatasetIdentity | None) -> None:
    """Raise ``PartitionUnreadableError`` for a file of another dataset: areas of two stores may have been mixed."""
    if None not in (found, ours) and found != ours:
        raise PartitionUnreadableError(f"{path} is of {found}; this store is of {ours}: move it away")
