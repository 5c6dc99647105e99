"""What lies in the folders of a store, seen from outside: names, sizes and times."""

from __future__ import annotations

import calendar
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from fnmatch import translate
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition, Revision, aggregate_path
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.durable_files import OWN_TEMPORARY

DIGITS = "[0-9][0-9]"
YEAR_FOLDER = f"year={DIGITS}{DIGITS}"
MONTH_NAME = f"month={DIGITS}"
MONTH_FOLDER = f"{YEAR_FOLDER}/{MONTH_NAME}"
DAY_FILE = f"day={DIGITS}.parquet"
_YEAR, _MONTH = re.compile(YEAR_FOLDER), re.compile(MONTH_NAME)


@frozen
class StoreLayout:
    """The roots of a store, and where in them everything lies."""

    data: Path
    aggregates: Path
    quarantine: Path
    revisions: Path

    def bars(self, day: SymbolDay) -> Path:
        return self.data / DataPartition(day).path

    def rejected(self, day: SymbolDay) -> Path:
        return self.quarantine / DataPartition(day).path

    def revision(self, revision: Revision) -> Path:
        return self.revisions / revision.path

    def rejected_files(self, days: Collection[SymbolDay]) -> dict[SymbolDay, Path]:
        """Those that are there; every folder is looked into once. Raises ``StorageError``."""
        folders = {month: self.quarantine / month.folder for month in {MonthPartition.of(day) for day in days}}
        names = {month: set(_names_in(folder)) if folder.is_dir() else () for month, folder in folders.items()}
        return {day: self.rejected(day) for day in days if DataPartition(day).name in names[MonthPartition.of(day)]}

    def month(self, month: MonthPartition) -> Path:
        return self.data / month.folder

    def aggregate(self, timeframe: Timeframe, month: MonthPartition) -> Path:
        return Path(self.aggregate_location(timeframe, month))

    def aggregate_location(self, timeframe: Timeframe, month: MonthPartition) -> str:
        """The same as text, for those who look at a great many of them."""
        return f"{self.aggregates}/{aggregate_path(timeframe, month)}"

    def day_files(self, month: MonthPartition) -> list[Path]:
        """Those of one month, ascending, each of a day that the month has; none where there is no such month."""
        days = calendar.monthrange(month.year, month.month)[1]
        return sorted(path for path in self.month(month).glob(DAY_FILE) if 1 <= _number(path.stem) <= days)

    def revisions_of(self, month: MonthPartition) -> list[Revision]:
        """Ascending by date, then moment; none where there is no such month. Raises ``StorageError``."""
        names = _names_in(self.revisions / month.folder)
        return sorted(revision for name in names if (revision := month.revision(name)))

    def any_day_files(self) -> Iterator[Path]:
        """Of folders that bear a symbol, in no particular order, found only as far as somebody looks."""
        for symbol in _symbols(self.data.glob("symbol=*")):
            yield from (self.data / f"symbol={symbol}").glob(f"{MONTH_FOLDER}/{DAY_FILE}")

    def symbols(self) -> list[Symbol]:
        """Those with a folder, ascending."""
        return sorted(_symbols(self.data.glob("symbol=*")))

    def months(self, symbol: Symbol) -> list[MonthPartition]:
        """Those with a folder, ascending."""
        root = f"{self.data}/symbol={symbol}"
        years = sorted(name for name in _names_below(root) if _YEAR.fullmatch(name))
        named = ((year, name) for year in years for name in sorted(_names_below(f"{root}/{year}")))
        months = ((_number(year), _number(name)) for year, name in named if _MONTH.fullmatch(name))
        return [MonthPartition(symbol, year, month) for year, month in months if year and 1 <= month <= 12]

    def timeframes(self) -> list[Timeframe]:
        """Those that were ever aggregated."""
        return [timeframe for timeframe in Timeframe if (self.aggregates / f"timeframe={timeframe}").is_dir()]


def _names_in(folder: Path | str) -> list[str]:
    """A folder that may not be looked into must not pass for an empty one, as it does with ``glob``."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error


def _names_below(name: str) -> list[str]:
    """None where it is a file that somebody put there. Raises ``StorageError``."""
    return _names_in(name) if os.path.isdir(name) else []


def _number(folder: str) -> int:
    return int(folder.partition("=")[2])


def _symbols(folders: Iterator[Path]) -> Iterator[Symbol]:
    for folder in folders:
        try:
            yield Symbol(folder.name.partition("=")[2])
        except ValidationError:  # somebody else's folder
            continue


FileLook = tuple[str, int, int]
"""A file from outside: its name, its size in bytes, its modification time in nanoseconds since 1970."""


@contextmanager
def looking_into(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = os.path.join(folder, error.filename or "")  # looked at by a descriptor it has no folder
        raise StorageError(f"cannot look into {where}: {error.strerror}") from error


def entries_of(folder: Path | str, pattern: str) -> list[os.DirEntry[str]]:
    """Those whose names fit, ascending; none where there is no such folder. Raises ``StorageError``."""
    fits = _compiled(pattern)
    with looking_into(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if fits.match(entry.name)), key=attrgetter("name"))
        except FileNotFoundError:
            return []


def day_file_looks(folder: Path | str) -> list[FileLook]:
    """Of the day files of one month, ascending; none where there is no such folder. Raises ``StorageError``.

    A store has a great many of them, and all are looked at again and again: by a descriptor, so that the system does
    not walk the whole path for each.
    """
    fits = _compiled(DAY_FILE).match
    with looking_into(folder):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return []
        try:
            with os.scandir(descriptor) as entries:
                seen = [(entry.name, entry.stat()) for entry in entries if fits(entry.name)]
        finally:
            os.close(descriptor)
    return sorted([(name, found.st_size, found.st_mtime_ns) for name, found in seen])


def modified_ns(path: str) -> int | None:
    """None where there is no such file. Raises ``StorageError``."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error


def number_in(name: str) -> int:
    """``day=02.parquet`` is 2, ``year=2024`` is 2024."""
    return int(name.partition("=")[2].partition(".")[0])


def date_in(month: MonthPartition, day: int) -> date | None:
    """None for somebody else's ``day=99.parquet``."""
    try:
        return date(month.year, month.month, day)
    except ValueError:
        return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


DAY = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)(\.[^/]+)?\.parquet", re.ASCII)
MONTH = re.compile(r"year=(\d{4})/month=(\d\d)\.parquet", re.ASCII)
YEAR = re.compile(r"year=(\d{4})\.parquet", re.ASCII)


@frozen
class FoundFile:
    """``first`` and ``last`` bound what may be in it, both inclusive; ``period`` is what its metadata has to say."""

    area: StoreArea
    path: str
    on_disk: str
    symbol: Symbol
    timeframe: Timeframe
    period: str
    first: TradingDate
    last: TradingDate


@frozen
class StrayFile:
    path: str


class StoreWalk:
    def __init__(self, layout: StoreLayout) -> None:
        self._roots = {
            StoreArea.DATA: layout.data,
            StoreArea.AGGREGATES: layout.aggregates,
            StoreArea.QUARANTINE: layout.quarantine,
            StoreArea.REVISIONS: layout.revisions,
        }

    def symbols(self) -> frozenset[Symbol]:
        """Those with a folder in any area."""
        names = {
            name for area in StoreArea for top in self._tops(area) for name in _sorted_names_in(self._roots[area] / top)
        }
        return frozenset(symbol for name in names if (symbol := _symbol_in(name)))

    def strays(self) -> list[StrayFile]:
        """Files beside the folders of the symbols, and those in folders that are nobody's."""
        return [StrayFile(path) for area in StoreArea for path in sorted(self._strays(area))]

    def of_symbol(self, symbol: Symbol) -> Iterator[FoundFile | StrayFile]:
        """Area by area, ascending by path."""
        for area in StoreArea:
            for top in self._tops(area):
                prefix = f"{top}symbol={symbol}/"
                for below in _files_below(self._roots[area] / prefix):
                    found = _found(area, self._roots[area], symbol, top, below)
                    yield found or StrayFile(f"{area}/{prefix}{below}")

    def _tops(self, area: StoreArea) -> list[str]:
        """What lies between the root and the folders of the symbols."""
        if area is not StoreArea.AGGREGATES:
            return [""]
        return [f"timeframe={timeframe}/" for timeframe in Timeframe if timeframe is not Timeframe.MINUTE_1]

    def _strays(self, area: StoreArea) -> Iterator[str]:
        tops = self._tops(area)
        owned = {top.rstrip("/") for top in tops}
        for top in {"", *tops}:
            for name in _sorted_names_in(self._roots[area] / top):
                if _symbol_in(name) is None or top not in tops:
                    yield from _all_of(area, self._roots[area], f"{top}{name}") if name not in owned else ()


def _all_of(area: StoreArea, root: Path, name: str) -> Iterator[str]:
    """The file of that name, or all that lie in the folder."""
    if (root / name).is_dir():
        yield from (f"{area}/{name}/{below}" for below in _files_below(root / name))
    elif not OWN_TEMPORARY.fullmatch(name):
        yield f"{area}/{name}"


def _found(area: StoreArea, root: Path, symbol: Symbol, top: str, below: str) -> FoundFile | None:
    timeframe = Timeframe.parse(top[:-1].partition("=")[2]) if top else Timeframe.MINUTE_1
    try:
        span = _span(area, timeframe, symbol, below)
    except (ValidationError, ValueError):  # no date of the calendar
        return None
    if span is None:
        return None
    name = f"{top}symbol={symbol}/{below}"
    return FoundFile(area, f"{area}/{name}", str(root / name), symbol, timeframe, *span)


def _span(
    area: StoreArea, timeframe: Timeframe, symbol: Symbol, below: str
) -> tuple[str, TradingDate, TradingDate] | None:
    if area is not StoreArea.AGGREGATES:
        return _day(area, symbol, below)
    said = (MONTH if timeframe.is_intraday else YEAR).fullmatch(below)
    if said is None:
        return None
    year = int(said[1])
    months = [int(said[2])] * 2 if timeframe.is_intraday else [1, 12]
    first, last = (MonthPartition(symbol, year, month) for month in months)
    return str(first) if timeframe.is_intraday else f"{year:04d}", first.first, last.last


def _day(area: StoreArea, symbol: Symbol, below: str) -> tuple[str, TradingDate, TradingDate] | None:
    said = DAY.fullmatch(below)
    if said is None or (said[4] is None) is (area is StoreArea.REVISIONS):
        return None
    name, month = below.rpartition("/")[2], MonthPartition(symbol, int(said[1]), int(said[2]))
    if said[4] is not None and month.revision(name) is None:
        return None
    day = TradingDate.parse(f"{month}-{said[3]}")
    return str(day), day, day


def _files_below(folder: Path) -> list[str]:
    """Relative to it, with forward slashes, ascending; none where there is no folder. Raises ``StorageError``.

    What another thread is writing at this moment is nobody's file yet.
    """
    found, root = list[str](), str(folder)
    if folder.is_dir():
        for inner, _, names in os.walk(root, onerror=_refuse, followlinks=True):
            place = inner[len(root) :].replace(os.sep, "/").strip("/")
            prefix = f"{place}/" if place else ""
            found += [prefix + name for name in names if not OWN_TEMPORARY.fullmatch(name)]
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise StorageError(f"cannot look into {error.filename}: {error.strerror}") from error


def _sorted_names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error


def _symbol_in(name: str) -> Symbol | None:
    key, _, value = name.partition("=")
    try:
        return Symbol(value) if key == "symbol" else None
    except ValidationError:
        return None
