"""What the folder of a compacted month has: its days, those of a damaged file too, and what must give way."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, is_file, lexists, read_bytes
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition, day_file, size_and_time_in
from marketpipe.storage.domain.storage_metadata import label_in
from marketpipe.storage.infrastructure.compacted.both_forms import NEITHER_RECORDED
from marketpipe.storage.infrastructure.compacted.day_access import DAMAGES, DAY_NAME
from marketpipe.storage.infrastructure.compacted.month_file import (
    MONTH_FILE,
    MonthFileDamaged,
    StoredDayFile,
    days_in,
)
from marketpipe.storage.infrastructure.compacted.parquet_end import LENGTH_AND_MAGIC, MAGIC, footer_length
from marketpipe.storage.infrastructure.parquet_files import checked_bars, file_in, read_file, sha256
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.store_layout import StoreLayout, date_of, refuse_links, translating

Recorded = Mapping[TradingDate, RecordedVersion]
MAGIC_AGAIN: Final = re.compile(re.escape(MAGIC))
BOUNDARY: Final = re.compile(re.escape(MAGIC + MAGIC))
"""Between two day files: one ends, the next begins."""


@frozen
class MonthContents:
    """The days of a month with a month file. ``file`` is the month file; None if it cannot be read at all.

    ``from_month`` are the days that are to be written, for the others are files already. ``set_aside`` are day files
    that give way to a recorded version in the month file; so do the ``unreadable`` ones, which can only be moved.
    ``keeps_month_file`` if it has what no day has from now on.
    ``may_lack_days``: neither the state nor the version index knows which days were in a damaged file.
    """

    file: StoredDayFile | None = field(repr=False)
    from_month: Sequence[StoredDayFile]
    set_aside: Sequence[StoredDayFile] = ()
    lost: Sequence[TradingDate] = ()
    is_damaged: bool = False
    keeps_month_file: bool = False
    may_lack_days: bool = False
    unreadable: Sequence[str] = ()


def contents_of(
    month: MonthPartition,
    folder: Path,
    names: Collection[str],
    recorded: Recorded,
    published: Callable[[], Collection[TradingDate]],
    disk: Disk = REAL_DISK,
) -> MonthContents:
    """Return what the month consists of. ``names`` are those in its folder; ``published`` is called if its file is
    damaged, and returns the dates of which a version was published here: they are known also if the state was lost.

    Where a day is a file and in the month file too, with other bytes, the recorded version counts. Raises
    ``StorageError``, also if neither was recorded: nothing tells which of the two is the later one.
    """
    file = _month_file(folder / MONTH_FILE, disk)
    days = None if file is None else _named_days(month, file.content)
    is_damaged = days is None
    if days is None:
        days = list(_readable_days(month, file or StoredDayFile(MONTH_FILE, b"", 0), recorded))
    beside, hidden = _day_files(folder, names, disk)
    aside, keeps = _set_aside(month, folder, [day for day in days if day.name in beside], beside, recorded)
    stay = beside.keys() - {day.name for day in aside}
    found = stay | {day.name for day in days}
    expected = recorded.keys() | published() if is_damaged else ()
    lost = [date for date in sorted(expected) if day_file(date.day.day) not in found]
    # Only of a file that has every recorded day is known that nothing else was in it.
    has_all = bool(recorded) and {day_file(date.day.day) for date in recorded} <= {day.name for day in days}
    keeps = keeps or (is_damaged and not has_all)
    written = [day for day in days if day.name not in stay]
    unreadable = [day.name for day in written if day.name in hidden]
    return MonthContents(file, written, aside, lost, is_damaged, keeps, is_damaged and not expected, unreadable)


def _set_aside(
    month: MonthPartition,
    folder: Path,
    days: Sequence[StoredDayFile],
    beside: Mapping[str, StoredDayFile],
    recorded: Recorded,
) -> tuple[list[StoredDayFile], bool]:
    """Return the files that give way to these ``days`` of the month file, and whether one of the days gives way."""
    give_way, day_gives_way = list[StoredDayFile](), False
    for day in days:
        file, digest = beside[day.name], _recorded_digest(month, day.name, recorded)
        if file.content == day.content:
            continue
        if sha256(day.content) == digest:
            give_way.append(file)
        elif sha256(file.content) == digest:
            day_gives_way = True
        else:
            raise PartitionUnreadableError(f"{folder / day.name} {NEITHER_RECORDED}")
    return give_way, day_gives_way


def _month_file(path: Path, disk: Disk) -> StoredDayFile | None:
    """Return a month file; None if what has its name is no file, or cannot be read. Raises ``StorageError``."""
    with translating(path):
        try:
            return _read_twice(path, disk)
        except FileNotFoundError:  # a link that leads nowhere
            return None
        except OSError as error:
            if error.errno in DAMAGES:
                return None
            raise


def _day_files(folder: Path, names: Iterable[str], disk: Disk) -> tuple[dict[str, StoredDayFile], list[str]]:
    """Return the day files of a folder, and the names of those that cannot be read. Raises ``StorageError``.

    What is no file is left out, and stays in its place.
    """
    found, unreadable = dict[str, StoredDayFile](), list[str]()
    for name in filter(DAY_NAME.fullmatch, names):
        with translating(folder / name):
            try:
                day = _read_twice(folder / name, disk)
            except FileNotFoundError:  # a link that leads nowhere
                continue
            except OSError as error:
                if error.errno not in DAMAGES:
                    raise
                unreadable.append(name)
            else:
                found |= {} if day is None else {name: day}
    return found, unreadable


def _read_twice(path: Path, disk: Disk) -> StoredDayFile | None:
    """Return a file; None for what is none. Of an error that does not come again no file has to give way."""
    with suppress(OSError):
        return _read(path, disk)
    return _read(path, disk)


def _read(path: Path, disk: Disk) -> StoredDayFile | None:
    if not stat.S_ISREG(disk.stat(path).st_mode):
        return None
    content, status = read_file(path, disk)
    return StoredDayFile(path.name, content, status.st_mtime_ns)


def _named_days(month: MonthPartition, content: bytes) -> list[StoredDayFile] | None:
    """Return the days that the end of a month file names; None if it is damaged, or names another day than it has."""
    try:
        days = days_in(content)
    except MonthFileDamaged:
        return None
    labels = ((day, _label(day.content)) for day in days)
    return days if all(label in (None, _label_of(month, day.name)) for day, label in labels) else None


def _readable_days(month: MonthPartition, file: StoredDayFile, recorded: Recorded) -> Iterator[StoredDayFile]:
    """Yield the days in a damaged month file, ascending: those with the recorded bytes, and others that are whole.

    Its day files follow one another. Nothing but their own bytes is used to find them.
    """
    content, begins = file.content, [match.start() for match in MAGIC_AGAIN.finditer(file.content)]
    found, known = dict[str, StoredDayFile](), set[str]()
    for date, version in sorted(recorded.items()):
        size, modified_us = size_and_time_in(version.mark)
        if size is None or modified_us is None:
            continue  # recorded by an early version: found as if it were not
        known.add(name := day_file(date.day.day))
        pieces = (
            content[start : start + size] for start in begins if content.startswith(MAGIC, start + size - len(MAGIC))
        )
        if (piece := next((each for each in pieces if sha256(each) == version.sha256), None)) is not None:
            found[name] = StoredDayFile(name, piece, modified_us * 1000)
    boundaries = [match.start() + len(MAGIC) for match in BOUNDARY.finditer(content)]
    for start, end in pairwise([0, *boundaries, len(content)]):
        day = _whole_day(month, content[start:end], file.modified_ns)
        if day is not None and day.name not in known:
            found.setdefault(day.name, day)
    yield from (found[name] for name in sorted(found))


def _whole_day(month: MonthPartition, content: bytes, modified_ns: int) -> StoredDayFile | None:
    """Return the day file that the content begins with, if it is whole and of this month.

    Its time is not known: since when it is stored, the version index knows.
    """
    for end in (match.end() for match in MAGIC_AGAIN.finditer(content)):
        piece = content[:end]
        length = footer_length(piece)
        if length is None or length + LENGTH_AND_MAGIC + len(MAGIC) > end:
            continue
        label, start = _label(piece) or "", _label_of(month, day_file(1)).removesuffix("01")
        if label.startswith(start) and DAY_NAME.fullmatch(name := f"day={label.removeprefix(start)}.parquet"):
            return StoredDayFile(name, piece, modified_ns) if _is_whole(piece, name) else None
    return None


def _is_whole(content: bytes, name: str) -> bool:
    try:
        rows, _ = file_in(content, name, columns=True)
        return rows is not None and len(checked_bars(rows, name)) > 0
    except PartitionUnreadableError:
        return False


def _label(content: bytes) -> str | None:
    """Return what a day file says that it is of; None if it cannot be read."""
    try:
        return label_in(file_in(content, MONTH_FILE, columns=False)[1])
    except PartitionUnreadableError:
        return None


def _label_of(month: MonthPartition, name: str) -> str:
    return f"{month.symbol} {Timeframe.MINUTE_1} {month}-{name[4:6]}"


def _recorded_digest(month: MonthPartition, name: str, recorded: Recorded) -> str | None:
    found = date_of(month.year, month.month, name)  # None for a foreign day=31 of February
    version = None if found is None else recorded.get(TradingDate(found))
    return None if version is None else version.sha256


class ReplacedFiles:
    """Keeps in the quarantine what is removed from the folder of a month and is no version on record, or not readable.

    ``days.parquet.1.bak`` is the first of its month. No reader of the quarantine takes it for a file of rejected bars.
    """

    def __init__(self, layout: StoreLayout, files: PublishedFiles) -> None:
        self._layout, self._files, self._disk = layout, files, layout.disk

    def copy(self, month: MonthPartition, file: StoredDayFile) -> Path:
        """Copy a file that is about to be removed; return where it is now. Raises ``StorageError``."""
        kept = self._place(month, file.name, file.content)
        self._files.publish({kept: file.content}, file.modified_ns)
        return kept

    def keep(self, month: MonthPartition, path: Path) -> Path:
        """Give a file that cannot be read a second name, or another one; return it. Raises ``StorageError``."""
        kept = self._place(month, path.name, None)
        try:
            self._files.keep({path: kept})
        except StorageError:  # a link to a file of somebody else may not be allowed
            return self.move(month, path)
        return kept

    def move(self, month: MonthPartition, path: Path) -> Path:
        """Move what cannot be read; return where it is now. Raises ``StorageError``."""
        kept = self._place(month, path.name, None)
        try:
            self._files.move(path, kept)
        except OSError as error:
            raise StorageError(f"cannot move {path} to {kept}: {error.strerror}; move it away yourself") from error
        return kept

    def _place(self, month: MonthPartition, name: str, content: bytes | None) -> Path:
        """A copy that a killed run has made is not made again."""
        refuse_links(self._layout.quarantine, month.folder, self._disk)
        folder = self._layout.quarantine / month.folder
        places = (folder / f"{name}.{number}.bak" for number in count(1))
        with translating(folder):
            return next(place for place in places if not lexists(self._disk, place) or self._has(place, content))

    def _has(self, place: Path, content: bytes | None) -> bool:
        return content is not None and is_file(self._disk, place) and read_bytes(self._disk, place) == content
