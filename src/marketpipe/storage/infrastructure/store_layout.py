from __future__ import annotations

import calendar
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition, Revision, aggregate_path

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
