"""Where every file of a store is, and what its folders contain: the only module that knows names and paths.

``StoreLayout`` computes paths, ``scan_day_files`` is the one scanner of day files, and ``StoreWalk`` finds every file
there is, foreign ones too. No file is opened here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from calendar import monthrange
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, NoReturn

from attrs import Factory, frozen

from marketpipe.shared_kernel.domain.errors import StorageError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition, Revision
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.durable_files import OWN_TEMPORARY

DIGITS: Final = "[0-9][0-9]"
YEAR_FOLDER: Final = f"year={DIGITS}{DIGITS}"
MONTH_FOLDER: Final = f"{YEAR_FOLDER}/month={DIGITS}"
DAY_FILE: Final = f"day={DIGITS}.parquet"
"""Names as patterns that a glob, Python's or DuckDB's, and a regular expression read alike, but for the dot."""

VERSION_INDEX: Final = "known_since.csv"
"""In a symbol's folder of revisions: since when each of its versions is known."""

_YEAR: Final = re.compile(r"year=(?!0000)(\d{4})", re.ASCII)
_MONTH: Final = re.compile(r"month=(0[1-9]|1[0-2])", re.ASCII)
_DAY_FILE: Final = re.compile(r"day=\d\d\.parquet", re.ASCII)


@frozen
class StoreLayout:
    """The five roots of a store, and the path of each file below them."""

    data: Path
    aggregates: Path
    quarantine: Path
    revisions: Path
    official: Path = Factory(lambda self: self.revisions.with_name("official"), takes_self=True)

    def bars(self, day: SymbolDay) -> Path:
        return self.data / DataPartition(day).path

    def rejected(self, day: SymbolDay) -> Path:
        return self.quarantine / DataPartition(day).path

    def official_days(self, symbol: Symbol, year: int) -> Path:
        return self.official / f"symbol={symbol}" / f"year={year:04d}.parquet"

    def official_years(self, symbol: Symbol) -> list[int]:
        """Return the years that have a file of official days, ascending. Raises ``StorageError``."""
        names = names_in(self.official / f"symbol={symbol}")
        return [int(match[1]) for name in names if (match := _YEAR_PATH.fullmatch(name))]

    def official_histories(self, symbol: Symbol) -> list[Path]:
        """Return the histories of official days that exist, ascending by year."""
        return sorted((self.revisions / f"symbol={symbol}").glob(f"{YEAR_FOLDER}/{VERSION_INDEX}"))

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
        names = {month: frozenset(names_in(folder)) if folder.is_dir() else () for month, folder in folders.items()}
        return {day: self.rejected(day) for day in days if DataPartition(day).name in names[MonthPartition.of(day)]}

    def month(self, month: MonthPartition) -> Path:
        return self.data / month.folder

    def aggregates_of(self, timeframe: Timeframe) -> Path:
        return self.aggregates / f"timeframe={timeframe}"

    def aggregate(self, timeframe: Timeframe, month: MonthPartition) -> str:
        """Return the path of the aggregate that has the bars of this month."""
        return f"{self.aggregates_of(timeframe)}/{month.folder if timeframe.is_intraday else month.year_folder}.parquet"

    def day_files(self, month: MonthPartition) -> list[Path]:
        """Return the day files of a month, ascending; none if it has no folder. Raises ``StorageError``."""
        folder = self.month(month)
        names = (name for name in names_in(folder) if _DAY_FILE.fullmatch(name))
        return [folder / name for name in names if date_of(month.year, month.month, name)]

    def revisions_of(self, month: MonthPartition) -> list[Revision]:
        """Return the revisions of a month by date, then moment; none if it has no folder. Raises ``StorageError``."""
        names = names_in(self.revisions / month.folder)
        return sorted(revision for name in names if (revision := month.revision(name)))

    def newest_revision(self, day: SymbolDay) -> Timestamp | None:
        """Return since when the newest revision of a symbol-day was known; None if it has none.

        Raises ``StorageError``.
        """
        month, prefix = MonthPartition.of(day), DataPartition(day).name.removesuffix("parquet")
        names = (name for name in names_in(self.revisions / month.folder) if name.startswith(prefix))
        return max((revision.known_since for name in names if (revision := month.revision(name))), default=None)

    def any_day_files(self) -> Iterator[Path]:
        """Yield day files in no particular order, and list no more folders than the caller needs."""
        for folder in self.data.glob("symbol=*"):
            if _symbol_of(folder.name) is not None:
                yield from folder.glob(f"{MONTH_FOLDER}/{DAY_FILE}")

    def symbols(self) -> list[Symbol]:
        """Return the symbols that have a folder of minute bars, ascending. Raises ``StorageError``."""
        return sorted(symbol for name in names_in(self.data) if (symbol := _symbol_of(name)))

    def years(self, symbol: Symbol) -> list[int]:
        """Return the years that have a folder, ascending. Raises ``StorageError``."""
        return _numbers_in(f"{self.data}/symbol={symbol}", _YEAR)

    def months(self, symbol: Symbol) -> list[MonthPartition]:
        """Return the months that have a folder, ascending. Raises ``StorageError``."""
        root = f"{self.data}/symbol={symbol}"
        years = self.years(symbol) if os.path.isdir(root) else []  # a foreign file may be in the place of a folder
        folders = [(year, folder) for year in years if os.path.isdir(folder := f"{root}/year={year:04d}")]
        return [MonthPartition(symbol, year, month) for year, at in folders for month in _numbers_in(at, _MONTH)]

    def timeframes(self) -> list[Timeframe]:
        """Return the timeframes that were aggregated at least once."""
        return [timeframe for timeframe in Timeframe if self.aggregates_of(timeframe).is_dir()]


DayFile = tuple[str, int, int]
"""A day file as its folder shows it: its name, its size in bytes, its modification time in nanoseconds since 1970."""
GONE: Final = -1
"""In the place of size and time of a name without a file: removed since it was listed, or a link to nowhere."""
STRANGE: Final = -2
"""In the place of size and time of what is no file: a folder or a pipe that has the name of a file."""
NO_FILE: Final = (STRANGE, STRANGE)
FILE_TYPE: Final = 0o170000
LEADS_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def scan_day_files(folder: Path | str) -> list[DayFile]:
    """Return the day files in a month's folder, ascending by name; none if there is no such folder.

    A foreign ``day=99.parquet`` is among them. Raises ``StorageError``.
    """
    # Hundreds of thousands of files pass through this loop on every plan. Files are examined relative to a descriptor
    # of their folder, so that the system does not walk the whole path for each; that saves an eighth of the time.
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(_day_files_in(descriptor))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def _day_files_in(descriptor: int) -> list[DayFile]:
    found, fits = list[DayFile](), _DAY_FILE.fullmatch
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if fits(entry.name):
                try:
                    status = entry.stat()
                except OSError as error:
                    if error.errno not in LEADS_NOWHERE:
                        raise
                    found.append((entry.name, GONE, GONE))
                else:
                    is_file = status.st_mode & FILE_TYPE == stat.S_IFREG
                    found.append((entry.name, *((status.st_size, status.st_mtime_ns) if is_file else NO_FILE)))
    return found


def modified_ns(path: str) -> int | None:
    """Return a file's modification time in nanoseconds since 1970; None without a file. Raises ``StorageError``."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def names_in(folder: Path | str) -> list[str]:
    """Return the names in a folder, ascending; none if it does not exist.

    Raises ``StorageError`` for a folder that may not be listed: it must not pass for an empty one, as in a glob.
    """
    try:
        return sorted(os.listdir(folder))
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


def _numbers_in(folder: str, pattern: re.Pattern[str]) -> list[int]:
    """Return the numbers in the names that fit, ascending; none if there is no such folder. Raises ``StorageError``."""
    return [int(match[1]) for name in names_in(folder) if (match := pattern.fullmatch(name))]


def _symbol_of(name: str) -> Symbol | None:
    """Return the symbol of a folder; None for a foreign name."""
    key, _, value = name.partition("=")
    try:
        return Symbol(value) if key == "symbol" else None
    except ValidationError:
        return None


@frozen
class FoundFile:
    """A file of the store that is named as it should be.

    ``path`` begins with the store's area, ``on_disk`` is where the file is on this machine. Its bars are of dates
    between ``first`` and ``last``, both inclusive; ``period`` is what its metadata must contain.
    """

    area: StoreArea
    path: str
    on_disk: str
    symbol: Symbol
    timeframe: Timeframe
    period: str
    first: TradingDate
    last: TradingDate


class StoreWalk:
    """Finds every file below the five roots, foreign files and folders included.

    A stray file, which is not named as those of a store are, is its path, beginning with the area.
    """

    def __init__(self, layout: StoreLayout) -> None:
        self._roots = {
            StoreArea.DATA: layout.data,
            StoreArea.AGGREGATES: layout.aggregates,
            StoreArea.QUARANTINE: layout.quarantine,
            StoreArea.REVISIONS: layout.revisions,
            StoreArea.OFFICIAL: layout.official,
        }

    def symbols(self) -> frozenset[Symbol]:
        """Return the symbols that have a folder in any area. Raises ``StorageError``."""
        names = {name for area in StoreArea for top in _tops(area) for name in names_in(self._roots[area] / top)}
        return frozenset(symbol for name in names if (symbol := _symbol_of(name)))

    def strays(self) -> list[str]:
        """Return the files outside of the folders of symbols, by area, then path. Raises ``StorageError``."""
        return [path for area in StoreArea for path in sorted(self._strays(area))]

    def of_symbol(self, symbol: Symbol) -> Iterator[FoundFile | str]:
        """Yield the files in the folders of a symbol, by area, then path. Raises ``StorageError``."""
        for area in StoreArea:
            for top in _tops(area):
                prefix = f"{top}symbol={symbol}/"
                for below in _files_below(self._roots[area] / prefix):
                    if area is not StoreArea.REVISIONS or not _INDEX_PATH.match(below):
                        yield self._found(area, symbol, top, below) or f"{area}/{prefix}{below}"

    def day_file(self, day: SymbolDay) -> FoundFile:
        """Return where the minute bars of a symbol-day are, whether they exist or not."""
        date = day.trading_date
        return self._file(
            StoreArea.DATA, DataPartition(day).path, day.symbol, Timeframe.MINUTE_1, str(date), date, date
        )

    def _found(self, area: StoreArea, symbol: Symbol, top: str, below: str) -> FoundFile | None:
        timeframe = Timeframe.parse(top[:-1].partition("=")[2]) if top else Timeframe.MINUTE_1
        if area is StoreArea.OFFICIAL or (area is StoreArea.QUARANTINE and _YEAR_PATH.fullmatch(below)):
            timeframe = Timeframe.DAY_1  # official days, and rejected ones
        try:
            span = _span(area, timeframe, symbol, below)
        except (ValidationError, ValueError):  # no date of the calendar
            return None
        return self._file(area, f"{top}symbol={symbol}/{below}", symbol, timeframe, *span) if span else None

    def _file(self, area: StoreArea, name: str, symbol: Symbol, timeframe: Timeframe, *span: *Span) -> FoundFile:
        return FoundFile(area, f"{area}/{name}", str(self._roots[area] / name), symbol, timeframe, *span)

    def _strays(self, area: StoreArea) -> Iterator[str]:
        tops = _tops(area)
        owned = {top.rstrip("/") for top in tops}
        for top in {"", *tops}:
            for name in names_in(self._roots[area] / top):
                if _symbol_of(name) is None or top not in tops:
                    yield from _all_of(area, self._roots[area], f"{top}{name}") if name not in owned else ()


def _tops(area: StoreArea) -> list[str]:
    """Return the folders between an area's root and the folders of the symbols."""
    if area is not StoreArea.AGGREGATES:
        return [""]
    return [f"timeframe={timeframe}/" for timeframe in Timeframe if timeframe.is_aggregated]


def _all_of(area: StoreArea, root: Path, name: str) -> Iterator[str]:
    """Yield the file of that name, or every file in the folder of that name."""
    if (root / name).is_dir():
        yield from (f"{area}/{name}/{below}" for below in _files_below(root / name))
    elif not OWN_TEMPORARY.fullmatch(name):
        yield f"{area}/{name}"


_DAY_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)(\.[^/]+)?\.parquet", re.ASCII)
_MONTH_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)\.parquet", re.ASCII)
_YEAR_PATH: Final = re.compile(r"year=(\d{4})\.parquet", re.ASCII)
_INDEX_PATH: Final = re.compile(rf"(year=(?!0000)\d{{4}}/)?{re.escape(VERSION_INDEX)}(/|$)", re.ASCII)
"""The version index of day files, and those of official days, one a year; what is in a folder of that name, too."""
Span = tuple[str, TradingDate, TradingDate]
"""A period as metadata names it, its first and its last date."""


def _span(area: StoreArea, timeframe: Timeframe, symbol: Symbol, below: str) -> Span | None:
    if area in (StoreArea.DATA, StoreArea.REVISIONS) or (area is StoreArea.QUARANTINE and timeframe.is_intraday):
        return _day_span(area, symbol, below)
    match = (_MONTH_PATH if timeframe.is_intraday else _YEAR_PATH).fullmatch(below)
    if match is None:
        return None
    year = int(match[1])
    months = [int(match[2])] * 2 if timeframe.is_intraday else [1, 12]
    first, last = (MonthPartition(symbol, year, month) for month in months)
    return str(first) if timeframe.is_intraday else f"{year:04d}", first.first, last.last


def _day_span(area: StoreArea, symbol: Symbol, below: str) -> Span | None:
    match = _DAY_PATH.fullmatch(below)
    if match is None or (match[4] is None) is (area is StoreArea.REVISIONS):
        return None
    name, month = below.rpartition("/")[2], MonthPartition(symbol, int(match[1]), int(match[2]))
    if match[4] is not None and month.revision(name) is None:
        return None
    day = TradingDate.parse(f"{month}-{match[3]}")
    return str(day), day, day


def _files_below(folder: Path) -> list[str]:
    """Return the files below a folder, ascending, relative to it, with forward slashes; none if it does not exist.

    Temporary files that this library is writing are left out. Raises ``StorageError``.
    """
    found, root = list[str](), str(folder)
    if folder.is_dir():
        for inner, _, names in os.walk(root, onerror=_refuse, followlinks=True):
            place = inner[len(root) :].replace(os.sep, "/").strip("/")
            prefix = f"{place}/" if place else ""
            found += [prefix + name for name in names if not OWN_TEMPORARY.fullmatch(name)]
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from error
