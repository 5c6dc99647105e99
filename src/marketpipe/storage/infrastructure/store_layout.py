"""Where every file of a store is, and what its folders contain.

``StoreLayout`` computes paths, and ``scan_day_files`` is the one scanner of day files. It opens no file but the month
file of a compacted month, whose end names its days.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Final

from attrs import Factory, field, frozen

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, StorageError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, is_link, lexists, walk
from marketpipe.shared_kernel.infrastructure.machine.disk import is_folder as leads_to_a_folder
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition, Revision
from marketpipe.storage.infrastructure.compacted.day_access import DAY_NAME, in_folder, listed, parts_in
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE

DIGITS: Final = "[0-9][0-9]"
YEAR_FOLDER: Final = f"year={DIGITS}{DIGITS}"
MONTH_FOLDER: Final = f"{YEAR_FOLDER}/month={DIGITS}"
DAY_FILE: Final = f"day={DIGITS}.parquet"
"""Names as patterns that a glob, Python's or DuckDB's, and a regular expression read alike, but for the dot."""

ARROW, PARQUET = COPY_FORMATS = "arrow", "parquet"
"""The forms of read copies, which are the endings of their names."""
VERSION_INDEX: Final = "known_since.csv"
"""In a symbol's folder of revisions: since when each of its versions is known. In that of a year: official days."""

_YEAR: Final = re.compile(r"year=(?!0000)(\d{4})", re.ASCII)
_MONTH: Final = re.compile(r"month=(0[1-9]|1[0-2])", re.ASCII)
YEAR_PATH: Final = re.compile(r"year=(\d{4})\.parquet", re.ASCII)
HISTORY_PATH: Final = re.compile(rf"year=(?!0000)(\d{{4}})/{re.escape(VERSION_INDEX)}", re.ASCII)
"""Below a symbol's folder of revisions: every version of the official days of a year."""


@frozen
class StoreLayout:
    """The six roots of a store, the path of each file below them, and the machine that they are on."""

    data: Path
    aggregates: Path
    quarantine: Path
    revisions: Path
    official: Path = Factory(lambda self: self.revisions.with_name("official"), takes_self=True)
    copies: Path = Factory(lambda self: self.revisions.with_name("copies"), takes_self=True)
    machine: Machine = field(default=HERE, kw_only=True, eq=False, repr=False)
    disk: Disk = field(init=False, eq=False, repr=False)

    @disk.default
    def _disk_of_machine(self) -> Disk:
        return self.machine.disk

    def derived(self) -> Mapping[str, Path]:
        """Return the roots of all areas but the minute bars, by the key of the configuration that names them."""
        return {
            "aggregates_path": self.aggregates,
            "quarantine_path": self.quarantine,
            "revisions_path": self.revisions,
            "official_path": self.official,
            "copies_path": self.copies,
        }

    def bars(self, day: SymbolDay) -> Path:
        return self.data / DataPartition(day).path

    def rejected(self, day: SymbolDay) -> Path:
        return self.quarantine / DataPartition(day).path

    def official_days(self, symbol: Symbol, year: int) -> Path:
        return self.official / f"symbol={symbol}" / f"year={year:04d}.parquet"

    def official_years(self, symbol: Symbol) -> list[int]:
        """Return the years that have a file of official days, ascending. Raises ``StorageError``."""
        folder = self.official / f"symbol={symbol}"
        names = names_in(folder, self.disk) if is_folder(folder, self.disk) else []
        return [int(match[1]) for name in names if (match := YEAR_PATH.fullmatch(name))]

    def rejected_official_days(self, symbol: Symbol, year: int) -> Path:
        return self.quarantine / f"symbol={symbol}" / f"year={year:04d}.parquet"

    def official_history(self, symbol: Symbol, year: int) -> Path:
        """Return where every version of the official days of a year is, each with its moment."""
        return self.revisions / f"symbol={symbol}" / f"year={year:04d}" / VERSION_INDEX

    def revision(self, revision: Revision) -> Path:
        return self.revisions / revision.path

    def version_index(self, symbol: Symbol) -> Path:
        return self.revisions / f"symbol={symbol}" / VERSION_INDEX

    def rejected_files(self, days: Collection[SymbolDay]) -> dict[SymbolDay, Path]:
        """Return the quarantine files that exist; each folder is listed once. Raises ``StorageError``."""
        folders = {month: self.quarantine / month.folder for month in {MonthPartition.of(day) for day in days}}
        for month in folders:
            refuse_links(self.quarantine, month.folder, self.disk)
        names = {month: frozenset(self._names_below(folder)) for month, folder in folders.items()}
        return {day: self.rejected(day) for day in days if DataPartition(day).name in names[MonthPartition.of(day)]}

    def _names_below(self, folder: Path) -> list[str]:
        with translating(folder):
            return names_in(folder, self.disk) if leads_to_a_folder(self.disk, folder) else []

    def month(self, month: MonthPartition) -> Path:
        return self.data / month.folder

    def aggregates_of(self, timeframe: Timeframe) -> Path:
        return self.aggregates / f"timeframe={timeframe}"

    def aggregate(self, timeframe: Timeframe, month: MonthPartition) -> str:
        """Return the path of the aggregate that has the bars of this month."""
        return f"{self.aggregates_of(timeframe)}/{month.folder if timeframe.is_intraday else month.year_folder}.parquet"

    def copy(self, month: MonthPartition, form: str) -> str:
        """Return the path of the read copy of this month, parquet or arrow."""
        return f"{self.copies}/{month.folder}.{form}"

    def copy_format(self) -> str | None:
        """Return the form of a read copy that exists; None if there is none."""
        for folder, _, names in walk(self.disk, self.copies):
            if "year=" in folder and (forms := [form for form in COPY_FORMATS if any(n.endswith(form) for n in names)]):
                return forms[0]
        return None

    def day_files(self, month: MonthPartition) -> list[Path]:
        """Return the day files of a month, ascending, those in its month file too; none if it has no folder.

        Raises ``StorageError``.
        """
        folder = self.month(month)
        names = (name for name, _, _ in scan_day_files(folder, self.disk))
        return [folder / name for name in names if date_of(month.year, month.month, name)]

    def revisions_of(self, month: MonthPartition) -> list[Revision]:
        """Return the revisions of a month by date, then moment; none if it has no folder. Raises ``StorageError``."""
        names = names_in(self.revisions / month.folder, self.disk)
        return sorted(revision for name in names if (revision := month.revision(name)))

    def newest_revision(self, day: SymbolDay) -> Timestamp | None:
        """Return since when the newest revision of a symbol-day was known; None if it has none.

        Raises ``StorageError``.
        """
        return newest_revision(day, names_in(self.revisions / MonthPartition.of(day).folder, self.disk))

    def any_day_files(self) -> Iterator[Path]:
        """Yield day files and month files in no order, as few folders as the caller needs: there may be thousands.

        None if the folder of the store may not be listed: what needs its files reports that. Raises ``StorageError``.
        """
        absent = suppress(FileNotFoundError, NotADirectoryError, PermissionError)
        with translating(self.data), absent, self.disk.scandir(self.data) as entries:
            for entry in entries:
                folder = self.data / entry.name
                if symbol_of(entry.name) is not None and is_folder(folder, self.disk):
                    yield from (path for path in any_files(folder, self.disk) if _is_of_minutes(path.name))

    def symbols(self) -> list[Symbol]:
        """Return the symbols that have a folder of minute bars, ascending. Raises ``StorageError``."""
        return sorted(symbol for name in names_in(self.data, self.disk) if (symbol := symbol_of(name)))

    def official_symbols(self) -> list[Symbol]:
        """Return the symbols that have a folder of official days, ascending. Raises ``StorageError``."""
        return sorted(symbol for name in names_in(self.official, self.disk) if (symbol := symbol_of(name)))

    def years(self, symbol: Symbol) -> list[int]:
        """Return the years that have a folder, ascending. Raises ``StorageError``."""
        root = f"{self.data}/symbol={symbol}"
        years = _numbers_in(root, _YEAR, self.disk) if is_folder(root, self.disk) else []
        return [year for year in years if is_folder(f"{root}/year={year:04d}", self.disk)]

    def known_years(self, symbol: Symbol) -> list[int]:
        """Return the years of which the store has or had bars, ascending. Raises ``StorageError``."""
        folder = f"{self.revisions}/symbol={symbol}"
        former = _numbers_in(folder, _YEAR, self.disk) if is_folder(folder, self.disk) else []
        return sorted({*self.years(symbol), *self.official_years(symbol), *former})

    def months(self, symbol: Symbol) -> list[MonthPartition]:
        """Return the months that have a folder, ascending. Raises ``StorageError``."""
        folders = [(year, f"{self.data}/symbol={symbol}/year={year:04d}") for year in self.years(symbol)]
        numbers = ((year, month) for year, at in folders for month in _numbers_in(at, _MONTH, self.disk))
        found = (MonthPartition(symbol, year, month) for year, month in numbers)
        return [month for month in found if is_folder(f"{self.data}/{month.folder}", self.disk)]

    def has_folder(self, symbol: Symbol) -> bool:
        """Return whether a symbol has a folder of minute bars, with files or without; a link counts too.

        Raises ``StorageError``.
        """
        with translating(self.data):
            return lexists(self.disk, f"{self.data}/symbol={symbol}")

    def timeframes_of(self, symbol: Symbol) -> list[Timeframe]:
        """Return the timeframes whose bars are stored for a symbol, or can be made of those that are.

        Raises ``StorageError``.
        """
        if any(map(self.day_files, self.months(symbol))):
            return list(Timeframe)
        of_days = bool(self.official_years(symbol))
        return [
            timeframe
            for timeframe in Timeframe
            if self.has_aggregates(symbol, timeframe) or (of_days and not timeframe.is_intraday)
        ]

    def has_aggregates(self, symbol: Symbol, timeframe: Timeframe) -> bool:
        """Return whether a folder has what bars of this timeframe are read from or, for weeks and months, made of."""
        stored = Timeframe.DAY_1 if timeframe.is_made_of_days else timeframe
        return is_folder(f"{self.aggregates_of(stored)}/symbol={symbol}", self.disk)

    def timeframes(self) -> list[Timeframe]:
        """Return the timeframes that were aggregated at least once. Raises ``StorageError``."""
        with translating(self.aggregates):
            return [each for each in Timeframe if leads_to_a_folder(self.disk, self.aggregates_of(each))]


def newest_revision(day: SymbolDay, names: Iterable[str]) -> Timestamp | None:
    """Return since when the newest revision of a symbol-day among the names in a month's folder was known."""
    month, prefix = MonthPartition.of(day), DataPartition(day).name.removesuffix("parquet")
    found = (month.revision(name) for name in names if name.startswith(prefix))
    return max((revision.known_since for revision in found if revision), default=None)


DayFile = tuple[str, int, int]
"""A day file as its folder shows it: its name, its size in bytes, its modification time in nanoseconds since 1970."""
GONE: Final = -1
"""In the place of size and time of a name without a file: removed since it was listed, or a link to nowhere."""
STRANGE: Final = -2
"""In the place of size and time of what is no file: a folder or a pipe that has the name of a file."""
NOT_FOLLOWED: Final = "put the folder itself in its place, or let the whole root be a link"
NO_FILE: Final = (STRANGE, STRANGE)
FILE_TYPE: Final = 0o170000
LEADS_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def scan_day_files(folder: Path | str, disk: Disk = REAL_DISK) -> list[DayFile]:
    """Return the day files in a month's folder, ascending by name; none if there is no such folder, or a link to one.

    Those in its month file are among them, and a foreign ``day=99.parquet``. Raises ``StorageError``.
    """
    # Hundreds of thousands of files pass through this loop on every plan. Files are examined relative to a descriptor
    # of their folder, so that the system does not walk the whole path for each; that saves an eighth of the time.
    with translating(folder):
        return in_folder(str(folder), lambda descriptor: _scanned(descriptor, str(folder), disk), disk=disk) or []


def scan_readable_days(folder: str, disk: Disk = REAL_DISK) -> tuple[list[DayFile], bool]:
    """Return what ``scan_day_files`` returns, without the days of a damaged month file, and whether it has one."""
    try:
        return scan_day_files(folder, disk), False
    except MonthUnreadableError:
        with translating(folder):
            found = in_folder(folder, lambda descriptor: _day_files_in(descriptor, disk)[0], disk=disk)
        return sorted(found or []), True


def _scanned(descriptor: int, folder: str, disk: Disk) -> list[DayFile]:
    found, has_month_file = _day_files_in(descriptor, disk)
    if has_month_file:
        parts = parts_in(descriptor, folder, disk).values()
        if not parts:  # it was removed since, after its days became files
            found, _ = _day_files_in(descriptor, disk)
        names = {name for name, _, _ in found}
        found += [(part.name, part.size, part.modified_ns) for part in parts if part.name not in names]
    return sorted(found)


def _day_files_in(descriptor: int, disk: Disk) -> tuple[list[DayFile], bool]:
    """Return the day files of an open folder in no order, and whether it has a month file too."""
    found, fits, has_month_file = list[DayFile](), DAY_NAME.fullmatch, False
    with disk.scandir(descriptor) as entries:
        for entry in entries:
            if entry.name == MONTH_FILE:
                has_month_file = True
            elif fits(entry.name):
                try:
                    status = entry.stat()
                except OSError as error:
                    if error.errno not in LEADS_NOWHERE:
                        raise
                    found.append((entry.name, GONE, GONE))
                else:
                    is_file = status.st_mode & FILE_TYPE == stat.S_IFREG
                    found.append((entry.name, *((status.st_size, status.st_mtime_ns) if is_file else NO_FILE)))
    return found, has_month_file


def _is_of_minutes(name: str) -> bool:
    return name == MONTH_FILE or DAY_NAME.fullmatch(name) is not None


def is_folder(path: Path | str, disk: Disk = REAL_DISK) -> bool:
    """Return whether a folder has that name, and not a file or a link that leads out of the store.

    Raises ``StorageError`` if that cannot be found out: what may not be read must not pass for what is gone.
    """
    try:
        return stat.S_ISDIR(disk.lstat(path).st_mode)
    except OSError as error:
        if error.errno in LEADS_NOWHERE:
            return False
        raise unreadable(path, error) from error


def link_below(root: Path, folder: str, disk: Disk = REAL_DISK) -> str | None:
    """Return the first link on the way from a root of the store, which may be one itself, to a folder; None if none."""
    parts = folder.split("/")
    paths = (os.path.join(root, *parts[:count]) for count in range(1, len(parts) + 1))
    return next((path for path in paths if _is_link(path, disk)), None)


def refuse_links(root: Path, folder: str, disk: Disk = REAL_DISK) -> None:
    """Raise ``StorageError`` if a folder below a root of the store is, or is in, a link."""
    if (link := link_below(root, folder, disk)) is not None:
        raise StorageError(f"{link} is a link, and no link below {root} is followed: {NOT_FOLLOWED}")


def refuse_links_on_the_way(root: Path, folders: Iterable[str], disk: Disk = REAL_DISK) -> None:
    """Raise ``StorageError`` as ``refuse_links`` of each folder; what is on the way to several is examined once."""
    examined, place = set[str](), str(root)
    for folder in folders:
        while folder and folder not in examined:
            examined.add(folder)
            if _is_link(f"{place}/{folder}", disk):
                refuse_links(root, folder, disk)
            folder = folder.rpartition("/")[0]


def _is_link(path: str, disk: Disk) -> bool:
    try:
        return is_link(disk, path)
    except OSError as error:
        raise unreadable(path, error) from error


def any_files(folder: Path, disk: Disk = REAL_DISK) -> Iterator[Path]:
    """Yield the Parquet files below a folder in no particular order, and list no more folders than the caller needs."""
    with suppress(OSError), disk.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and _MONTH.fullmatch(entry.name):
                yield from (Path(entry.path, name) for name in listed(entry.path, disk) if _is_shown(name))
            elif entry.is_dir(follow_symlinks=False):
                yield from any_files(Path(entry.path), disk)
            elif _is_shown(entry.name):
                yield Path(entry.path)


def _is_shown(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def modified_ns(path: str, disk: Disk = REAL_DISK) -> int | None:
    """Return a file's modification time in nanoseconds since 1970; None without a file. Raises ``StorageError``."""
    try:
        return disk.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def names_in(folder: Path | str, disk: Disk = REAL_DISK) -> list[str]:
    """Return the names in a folder, ascending; none if it does not exist.

    Raises ``StorageError`` for a folder that may not be listed: it must not pass for an empty one, as in a glob.
    """
    try:
        return sorted(disk.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def unreadable(path: Path | str, error: OSError) -> StorageError:
    """Return the error for a path that the system refuses to list, examine or read."""
    name = error.filename if isinstance(error.filename, str) else str(path)
    if os.sep not in name and name != str(path):  # examined by its folder's descriptor, it is named without the folder
        name = os.path.join(path, name)
    return StorageError(f"cannot read {name}: {error.strerror}; make it readable, or move away what is in its place")


@contextmanager
def translating(folder: Path | str) -> Iterator[None]:
    """Translate an ``OSError`` into a ``StorageError`` that names the path."""
    try:
        yield
    except OSError as error:
        raise unreadable(folder, error) from error


def day_in(name: str) -> int:
    """Return 2 for ``day=02.parquet``."""
    return int(name[4:6])


def date_of(year: int, month: int, day_file: str) -> date | None:
    """Return the date of a day file; None for a foreign ``day=99.parquet``."""
    day = day_in(day_file)
    return date(year, month, day) if 1 <= day <= monthrange(year, month)[1] else None


def _numbers_in(folder: str, pattern: re.Pattern[str], disk: Disk) -> list[int]:
    """Return the numbers in the names that fit, ascending; none if there is no such folder. Raises ``StorageError``."""
    return [int(match[1]) for name in names_in(folder, disk) if (match := pattern.fullmatch(name))]


def symbol_of(name: str) -> Symbol | None:
    """Return the symbol of a folder; None for a foreign name."""
    key, _, value = name.partition("=")
    try:
        return Symbol(value) if key == "symbol" else None
    except ValidationError:
        return None
